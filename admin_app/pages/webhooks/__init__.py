"""The page /webhooks; importing it registers the page."""

from admin_app.pages.webhooks.view import webhooks_page

__all__ = ["webhooks_page"]
