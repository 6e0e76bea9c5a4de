"""Notifications of the person whose key it is."""

from datetime import datetime

from pydantic import Field

from shared.access import actions
from shared.access.endpoints import After, ApiCtx, ApiOutput, ApiPage, Endpoint, Limit
from shared.tenancy import notifications
from shared.tenancy.api.parameters import IdText


class Notification(ApiOutput):
    id: str = Field(examples=["ntf_01jz"])
    kind: str = Field(examples=["member_left"])
    title: str = Field(examples=["Max left Acme"])
    body: str = Field(examples=["Their seat is free again."])
    created_at: datetime
    read_at: datetime | None


async def list_notifications(ctx: ApiCtx, after: After = "", limit: Limit = 50) -> ApiPage[Notification]:
    page = await notifications.list_page(ctx, after=after, limit=limit)
    return ApiPage(
        items=[Notification.model_validate(notification) for notification in page.rows],
        next=page.next_cursor or None,
    )


async def mark_notification_read(ctx: ApiCtx, notification_id: IdText) -> None:
    await notifications.mark_read(ctx, notification_id)


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/notifications",
        handler=list_notifications,
        action=actions.NOTIFICATION_READ,
        summary="List the notifications of the key’s person",
    ),
    Endpoint(
        method="POST",
        path="/notifications/{notification_id}/read",
        handler=mark_notification_read,
        action=actions.NOTIFICATION_READ,
        summary="Mark a notification as read",
        status=204,
    ),
]
