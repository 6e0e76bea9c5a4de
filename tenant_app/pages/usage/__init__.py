"""/t/[tenant]/usage: usage by meter over time, with export."""

from tenant_app.pages.usage.view import usage_page

__all__ = ["usage_page"]
