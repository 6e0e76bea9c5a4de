"""The page /prices; importing it registers the page."""

from admin_app.pages.prices.view import price_page

__all__ = ["price_page"]
