"""/api-keys: keys of operators for `/api/operator/v1`."""

from admin_app.pages.api_keys.view import api_keys_page

__all__ = ["api_keys_page"]
