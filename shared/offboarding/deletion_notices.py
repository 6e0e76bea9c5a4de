"""Tell the owners that their organisation will be deleted, or no longer will be: in the app and by mail."""

from shared.access.permissions import Permission
from shared.core.context import Ctx
from shared.jobs import queue
from shared.jobs.mail import Email
from shared.offboarding.models import TenantDeletion
from shared.tenancy import links, notifications, permission_holders

MAIL_TASK = "tenant.send_deletion_notice"
KIND = "tenant.deletion"
PAGE = "settings"


async def notify_owners(ctx: Ctx, deletion: TenantDeletion) -> None:
    """Once for the schedule and once for its end. For services, in their transaction."""
    is_canceled = deletion.canceled_at is not None
    for person in await permission_holders.list_users(ctx, Permission.TENANT_DELETE):
        notification_id = await notifications.add(
            ctx,
            person.id,
            KIND,
            _write_title(ctx, deletion),
            _write_body(deletion),
            href=PAGE,
            dedupe=f"{KIND}:{deletion.id}:{'canceled' if is_canceled else 'scheduled'}",
        )
        if notification_id:
            await queue.put(ctx, MAIL_TASK, notification_id=notification_id)


async def build_mail(ctx: Ctx, notification_id: str) -> Email | None:
    """None where the person is no owner any more."""
    notification = await notifications.get_notification(ctx, notification_id)
    owners = await permission_holders.list_users(ctx, Permission.TENANT_DELETE)
    owner = next((person for person in owners if notification and person.id == notification.user_id), None)
    if notification is None or notification.kind != KIND or owner is None:
        return None
    return Email(
        to=owner.email,
        template="tenant_deletion",
        message_id=notification.id,
        link=links.build_link(ctx.tenant_id, PAGE),
        values={
            "name": owner.name,
            "tenant": ctx.tenant_name,
            "title": notification.title,
            "body": notification.body,
        },
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
    return f"{requester} scheduled it: {deletion.reason} {way_back}"
