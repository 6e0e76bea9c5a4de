"""The look of an organisation in its mails, and how their reader declines them."""

from shared.access import decision
from shared.core.context import Ctx
from shared.core.notification_kinds import NOTIFICATION_KINDS
from shared.jobs.mail_frames import MailFrame
from shared.tenancy import links, member_repository, tenant_repository, unsubscribe_links
from shared.tenancy.unsubscribe_links import DIGEST_KIND, UnsubscribeLink

SETTINGS_PAGE = "notification-settings"
WHITE_LABEL = "white_label"  # feature


async def build_frame(ctx: Ctx, kind: str, user_id: str = "") -> MailFrame:
    """For a mail of this kind. `user_id`: the member who gets it, "" for an address without an account. For jobs."""
    settings = await tenant_repository.get_settings(ctx)
    can_decline = bool(user_id) and await _can_decline(ctx, kind, user_id)
    link = UnsubscribeLink(tenant_id=ctx.tenant_id, user_id=user_id, kind=kind)
    return MailFrame(
        kind=kind,
        unsubscribe_link=unsubscribe_links.build_url(link) if can_decline else "",
        settings_link=links.build_link(ctx.tenant_id, SETTINGS_PAGE) if can_decline else "",
        sender=ctx.tenant_name,
        colour=settings.colour if settings else "",
        logo=(settings.logo or b"") if settings else b"",
        names_product=not decision.has_feature(ctx, WHITE_LABEL),
    )


async def _can_decline(ctx: Ctx, kind: str, user_id: str) -> bool:
    if kind == DIGEST_KIND:
        return True
    declared = NOTIFICATION_KINDS.get(kind)
    if declared is None or not declared.is_choosable:
        return False
    return not (declared.owners_always and user_id in await member_repository.list_owner_ids(ctx))
