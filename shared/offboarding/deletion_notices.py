"""Tell the owners that their organisation will be deleted, or no longer will be: in the app and by mail."""

from shared.access.permissions import Permission
from shared.core.context import Ctx
from shared.core.notification_kinds import NOTICE_TEMPLATE, NotificationKind
from shared.offboarding.models import TenantDeletion
from shared.tenancy import notifications, permission_holders

KIND = "tenant.deletion"
PAGE = "settings"
DELETION = NotificationKind(
    key="deletion",
    title="Deletion of your organisation",
    description="When it is scheduled, and when it is cancelled.",
    permission=Permission.TENANT_DELETE,
    events=(KIND,),
    templates=(NOTICE_TEMPLATE,),
    is_essential=True,
)


async def notify_owners(ctx: Ctx, deletion: TenantDeletion) -> None:
    """Once for the schedule and once for its end. For services, in their transaction."""
    is_canceled = deletion.canceled_at is not None
    for person in await permission_holders.list_users(ctx, Permission.TENANT_DELETE):
        await notifications.add(
            ctx,
            person.id,
            KIND,
            _write_title(ctx, deletion),
            _write_body(deletion),
            href=PAGE,
            dedupe=f"{KIND}:{deletion.id}:{'canceled' if is_canceled else 'scheduled'}",
        )


def _write_title(ctx: Ctx, deletion: TenantDeletion) -> str:
    if deletion.canceled_at is not None:
        return f"{ctx.tenant_name} won’t be deleted"
    return f"{ctx.tenant_name} will be deleted on {deletion.delete_at:%-d %B %Y}"


def _write_body(deletion: TenantDeletion) -> str:
    if deletion.canceled_at is not None:
        return f"{deletion.canceled_by} cancelled the deletion. Everything stays as it is."
    requester = "Our support" if deletion.by_operator else deletion.requested_by
    way_back = (
        "Contact support to cancel it." if deletion.by_operator else "Until then, an owner can cancel it."
    )
    return f"{requester} scheduled it. {way_back} Reason: {deletion.reason}"
