"""The page /approvals/[approval]; importing it registers the page."""

from admin_app.pages.approval.view import approval_page

__all__ = ["approval_page"]
