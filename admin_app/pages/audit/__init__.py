"""The page /audit; importing it registers the page."""

from admin_app.pages.audit.view import audit_page

__all__ = ["audit_page"]
