"""The page /; importing it registers the page."""

from admin_app.pages.overview.view import overview_page

__all__ = ["overview_page"]
