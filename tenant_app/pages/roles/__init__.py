"""/t/[tenant]/roles: what each role may do, and the organisation's custom roles."""

from tenant_app.pages.roles.view import roles_page

__all__ = ["roles_page"]
