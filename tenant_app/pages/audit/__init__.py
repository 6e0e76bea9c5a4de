"""The page /t/[tenant]/audit; importing it registers the page."""

from tenant_app.pages.audit.state import AuditState
from tenant_app.pages.audit.view import audit_page

__all__ = ["AuditState", "audit_page"]
