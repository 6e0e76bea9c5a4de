"""The page /t/[tenant]/settings/audit; importing it registers the page."""

from tenant_app.pages.audit_streams.view import audit_streams_page

__all__ = ["audit_streams_page"]
