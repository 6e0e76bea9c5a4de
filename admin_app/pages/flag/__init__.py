"""The page /flags/[flag]; importing it registers the page."""

from admin_app.pages.flag.view import flag_page

__all__ = ["flag_page"]
