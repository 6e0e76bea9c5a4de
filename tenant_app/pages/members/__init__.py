"""/t/[tenant]/members: people, pending invitations, and what each person may do."""

from tenant_app.pages.members.view import members_page

__all__ = ["members_page"]
