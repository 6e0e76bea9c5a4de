"""The kinds of notifications about an organisation and its members."""

from shared.access.permissions import Permission
from shared.core.notification_kinds import NOTICE_TEMPLATE, Audience, MailChoice, NotificationKind
from shared.tenancy.unsubscribe_links import DIGEST_KIND

ACCESS, INVITATIONS, MEMBERS, SETUP, SUPPORT = "access", "invitations", "members", "setup", "support"

KINDS = (
    NotificationKind(
        key=ACCESS,
        title="Your access",
        description="When you leave this organisation, or your access to it ends.",
        templates=("access_ended", "left"),
        is_essential=True,
    ),
    NotificationKind(
        key=DIGEST_KIND,
        title="Daily summary",
        description="Once a day, what you chose to get in the summary.",
        templates=("digest",),
    ),
    NotificationKind(
        key=INVITATIONS,
        title="Invitations",
        description="When a member invites you to an organisation.",
        audience=Audience.INVITED,
        templates=("invitation",),
    ),
    NotificationKind(
        key=MEMBERS,
        title="Members",
        description="When a member leaves.",
        permission=Permission.OWNER_TRANSFER,
        events=("member_left",),
        templates=(NOTICE_TEMPLATE,),
        mail_default=MailChoice.OFF,
    ),
    NotificationKind(
        key=SUPPORT,
        title="Support access",
        description="When support asks to act for a member, and when it begins.",
        permission=Permission.SUPPORT_ACCESS_DECIDE,
        events=("support.requested", "support.started"),
        templates=("support_access",),
        is_essential=True,
    ),
    NotificationKind(
        key=SETUP,
        title="Your new organisation",
        description="When an organisation that you created is ready.",
        permission=Permission.OWNER_TRANSFER,
        events=("welcome",),
        templates=("welcome",),
        is_essential=True,
    ),
)
