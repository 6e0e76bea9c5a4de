"""The page /tenants/[tenant]; importing it registers the page."""

from admin_app.pages.tenant.view import tenant_page

__all__ = ["tenant_page"]
