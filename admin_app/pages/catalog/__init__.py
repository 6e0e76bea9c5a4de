"""The page /catalog; importing it registers the page."""

from admin_app.pages.catalog.view import catalog_page

__all__ = ["catalog_page"]
