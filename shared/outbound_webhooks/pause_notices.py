"""Tell those who manage webhooks that one was paused because it took nothing: in the app and by mail."""

from collections.abc import Sequence

from shared.core.context import Ctx
from shared.identity.models import User
from shared.jobs import queue
from shared.jobs.mail import Email
from shared.outbound_webhooks import actions, endpoint_repository
from shared.outbound_webhooks.models import EndpointState, PauseReason, WebhookEndpoint
from shared.tenancy import links, mail_branding, mail_preferences, notifications, permission_holders

MAIL_TASK = "webhook.send_pause_notice"
KIND, WEBHOOKS = "webhook.paused", "webhooks"  # of the notification, and what members choose
PAGE = "webhooks"
CAUSES = {
    PauseReason.FAILURES: "It took no event for a day.",
    PauseReason.GONE: "It answered that it is gone (410).",
}


async def notify_managers(ctx: Ctx, endpoint: WebhookEndpoint) -> None:
    """Once for each pause. For jobs that have paused it."""
    for person in await _list_managers(ctx):
        notification_id = await notifications.add(
            ctx,
            person.id,
            KIND,
            f"We paused the webhook {endpoint.url}",
            f"{_describe_cause(endpoint)} Its events wait. Resume it when it works again.",
            href=PAGE,
            dedupe=f"{KIND}:{endpoint.id}:{endpoint.paused_at}",
        )
        if notification_id and await mail_preferences.is_mail_enabled(ctx, person.id, WEBHOOKS):
            await queue.put(ctx, MAIL_TASK, notification_id=notification_id, endpoint_id=endpoint.id)


async def build_mail(ctx: Ctx, notification_id: str, endpoint_id: str) -> Email | None:
    """None when it was resumed or deleted meanwhile, or the person manages webhooks no more or has turned the mails off."""
    notification = await notifications.get_notification(ctx, notification_id)
    endpoint = await endpoint_repository.get_endpoint(ctx, endpoint_id)
    if notification is None or endpoint is None or endpoint.state is not EndpointState.PAUSED:
        return None
    managers = [person for person in await _list_managers(ctx) if person.id == notification.user_id]
    if notification.kind != KIND or not managers:
        return None
    if await mail_preferences.is_mail_declined(ctx, managers[0].id, WEBHOOKS):
        return None
    return Email(
        to=managers[0].email,
        template="webhook_paused",
        message_id=notification.id,
        link=links.build_link(ctx.tenant_id, PAGE),
        values={
            "name": managers[0].name,
            "tenant": ctx.tenant_name,
            "url": endpoint.url,
            "cause": _describe_cause(endpoint),
        },
        frame=await mail_branding.build_frame(ctx, WEBHOOKS, managers[0].id),
    )


def _describe_cause(endpoint: WebhookEndpoint) -> str:
    return CAUSES.get(endpoint.pause_reason, "")


async def _list_managers(ctx: Ctx) -> Sequence[User]:
    return await permission_holders.list_users(ctx, actions.WRITE)
