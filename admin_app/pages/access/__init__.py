"""The page /access; importing it registers the page."""

from admin_app.pages.access.view import access_page

__all__ = ["access_page"]
