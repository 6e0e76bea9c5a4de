"""/t/[tenant]/api-keys: API keys, and the service accounts that hold some of them."""

from tenant_app.pages.api_keys.view import api_keys_page

__all__ = ["api_keys_page"]
