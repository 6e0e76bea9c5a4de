"""The page /health; importing it registers the page."""

from admin_app.pages.health.view import health_page

__all__ = ["health_page"]
