"""The page /webhooks/[seller]/[webhook]; importing it registers the page."""

from admin_app.pages.webhook.view import webhook_page

__all__ = ["webhook_page"]
