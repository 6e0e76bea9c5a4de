"""Webhooks over REST: endpoints, their deliveries, and the catalog of events."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import AwareDatetime, Field, StringConstraints

from shared.access.endpoints import (
    After,
    ApiCtx,
    ApiInput,
    ApiOutput,
    ApiPage,
    Endpoint,
    IfMatch,
    Limit,
    set_etag,
)
from shared.audit.public_events import EventOrder
from shared.core.context import Ctx
from shared.outbound_webhooks import actions, deliveries, endpoints
from shared.outbound_webhooks.endpoints import EndpointView, IssuedSecret
from shared.outbound_webhooks.models import DeliveryStatus, EndpointState, LastResult, PauseReason
from shared.tenancy.api.parameters import IdText

MAX_OVERLAP_HOURS = round(endpoints.OVERLAP.total_seconds() / 3600)
UrlText = Annotated[str, StringConstraints(max_length=endpoints.MAX_URL_LENGTH)]
EventNames = Annotated[list[IdText], Field(max_length=100)]
StatusFilter = Annotated[DeliveryStatus | None, Query(description="Only deliveries in this status")]


class Webhook(ApiOutput):
    id: str = Field(examples=["whe_01jz"])
    url: str = Field(examples=["https://hooks.example.com/acme"])
    description: str = Field(examples=["Our CRM"])
    event_types: list[str] = Field(examples=[["member.removed"]])
    api_version: str = Field(description="Of the bodies", examples=["2026-12-01"])
    state: EndpointState
    pause_reason: PauseReason
    paused_at: datetime | None
    previous_secret_ends_at: datetime | None = Field(description="Until when the secret before it signs")
    failure_count: int = Field(description="Failed attempts since the last delivery", examples=[0])
    failing_since: datetime | None
    last_attempt_at: datetime | None
    last_result: LastResult
    last_status: int = Field(description="Of the last answer; 0 without one", examples=[200])
    created_at: datetime
    created_by: str = Field(examples=["Ann"])
    version: int = Field(description="Also the ETag", examples=[1])


class NewSecret(Webhook):
    secret: str | None = Field(description="Signs the events; in this answer only", examples=["whsec_…"])


class WebhookInput(ApiInput):
    url: UrlText = Field(
        description="https:// on port 443 of a host on the public internet",
        examples=["https://hooks.example.com/acme"],
    )
    description: Annotated[str, StringConstraints(max_length=200)] = Field(default="", examples=["Our CRM"])
    event_types: EventNames = Field(examples=[["member.removed"]])


class SecretRotation(ApiInput):
    overlap_hours: int = Field(
        default=MAX_OVERLAP_HOURS,
        ge=0,
        le=MAX_OVERLAP_HOURS,
        description="How long the former secret signs too; 0: no secret but the new one signs",
        examples=[24],
    )


class WebhookEvent(ApiOutput):
    name: str = Field(examples=["member.removed"])
    title: str = Field(examples=["A member was removed"])
    permission: str = Field(description="That those who subscribe need", examples=["member:read"])
    order: EventOrder = Field(description="Whose events come one after another")
    readable: bool = Field(description="Whether the caller has that permission", examples=[True])


class Delivery(ApiOutput):
    id: str = Field(examples=["whd_01jz"])
    event_id: str = Field(description="`webhook-id` of the request", examples=["evt_01jz"])
    event_type: str = Field(examples=["member.removed"])
    is_test: bool = Field(examples=[False])
    status: DeliveryStatus
    attempts: int = Field(examples=[1])
    due_at: datetime = Field(description="Of the next attempt, while it is pending")
    created_at: datetime
    done_at: datetime | None
    last_status: int = Field(description="Of the last answer; 0 without one", examples=[200])
    last_problem: str = Field(examples=[""])


class Attempt(ApiOutput):
    number: int = Field(examples=[1])
    at: datetime
    duration_ms: int = Field(examples=[42])
    request_headers: dict[str, str] = Field(examples=[{"webhook-id": "evt_01jz"}])
    response_status: int = Field(description="0 without an answer", examples=[200])
    response_body: str = Field(examples=["ok"])
    problem: str = Field(examples=[""])


class DeliveryLog(Delivery):
    webhook_id: str = Field(examples=["whe_01jz"])
    body: str = Field(description="As it was sent, byte for byte", examples=['{"type":"member.removed"}'])
    log: list[Attempt] = Field(description="Newest first")


class TestDelivery(ApiOutput):
    delivery_id: str = Field(examples=["whd_01jz"])


class FailedReplay(ApiInput):
    since: Annotated[AwareDatetime, Field(strict=False)] = Field(
        description="Of events that happened then or later"
    )


class ReplayCount(ApiOutput):
    count: int = Field(description="Deliveries that are sent again, at most 1,000", examples=[3])


async def prepare_url_check(ctx: Ctx, body: Any) -> Callable[[], Awaitable[None]] | None:
    """Its host is looked up before the transaction of the change. `body`: as it was sent, of any type."""
    url = body.get("url") if isinstance(body, dict) else None
    if not isinstance(url, str):
        return None  # the handler refuses it
    return partial(endpoints.check_url, await endpoints.begin_url_check(ctx, url))


async def list_webhooks(ctx: ApiCtx) -> ApiPage[Webhook]:
    return ApiPage(items=[_build_webhook(view) for view in await endpoints.list_endpoints(ctx)])


async def list_webhook_events(ctx: ApiCtx) -> ApiPage[WebhookEvent]:
    return ApiPage(
        items=[
            WebhookEvent(
                name=entry.event_type.name,
                title=entry.event_type.title,
                permission=entry.event_type.permission,
                order=entry.event_type.order,
                readable=entry.is_readable,
            )
            for entry in await endpoints.list_event_types(ctx)
        ]
    )


async def create_webhook(ctx: ApiCtx, response: Response, creation: WebhookInput) -> NewSecret:
    issued = await endpoints.create(ctx, creation.url, creation.description, creation.event_types)
    await ctx.session.flush()
    return _show_secret(response, issued)


async def get_webhook(ctx: ApiCtx, response: Response, webhook_id: IdText) -> Webhook:
    return _show(response, await endpoints.get_endpoint(ctx, webhook_id))


async def change_webhook(
    ctx: ApiCtx, response: Response, webhook_id: IdText, change: WebhookInput, version: IfMatch
) -> Webhook:
    view = await endpoints.change(
        ctx,
        webhook_id,
        change.url,
        description=change.description,
        event_types=change.event_types,
        version=version,
    )
    return _show(response, view)


async def rotate_webhook_secret(
    ctx: ApiCtx, response: Response, webhook_id: IdText, rotation: SecretRotation
) -> NewSecret:
    overlap = timedelta(hours=rotation.overlap_hours)
    return _show_secret(response, await endpoints.rotate_secret(ctx, webhook_id, overlap=overlap))


async def pause_webhook(ctx: ApiCtx, response: Response, webhook_id: IdText) -> Webhook:
    return _show(response, await endpoints.pause(ctx, webhook_id))


async def resume_webhook(ctx: ApiCtx, response: Response, webhook_id: IdText) -> Webhook:
    return _show(response, await endpoints.resume(ctx, webhook_id))


async def delete_webhook(ctx: ApiCtx, webhook_id: IdText) -> None:
    await endpoints.delete(ctx, webhook_id)


async def send_webhook_test(ctx: ApiCtx, webhook_id: IdText) -> TestDelivery:
    return TestDelivery(delivery_id=await endpoints.send_test(ctx, webhook_id))


async def list_webhook_deliveries(
    ctx: ApiCtx, webhook_id: IdText, status: StatusFilter = None, after: After = "", limit: Limit = 50
) -> ApiPage[Delivery]:
    page = await deliveries.list_deliveries(ctx, webhook_id, status=status, after=after, limit=limit)
    return ApiPage(
        items=[Delivery.model_validate(delivery) for delivery in page.rows], next=page.next_cursor or None
    )


async def get_webhook_delivery(ctx: ApiCtx, delivery_id: IdText) -> DeliveryLog:
    detail = await deliveries.get_delivery(ctx, delivery_id)
    return DeliveryLog(
        **Delivery.model_validate(detail.delivery).model_dump(),
        webhook_id=detail.endpoint_id,
        body=detail.body,
        log=[
            Attempt(
                number=attempt.number,
                at=attempt.at,
                duration_ms=attempt.duration_ms,
                request_headers=dict(attempt.request_headers),
                response_status=attempt.response_status,
                response_body=attempt.response_body,
                problem=attempt.problem,
            )
            for attempt in detail.attempts
        ],
    )


async def replay_webhook_delivery(ctx: ApiCtx, delivery_id: IdText) -> None:
    await deliveries.replay(ctx, delivery_id)


async def replay_failed_deliveries(ctx: ApiCtx, webhook_id: IdText, replay: FailedReplay) -> ReplayCount:
    return ReplayCount(count=await deliveries.replay_failed(ctx, webhook_id, replay.since))


def _show(response: Response, view: EndpointView) -> Webhook:
    set_etag(response, view.version)
    return _build_webhook(view)


def _show_secret(response: Response, issued: IssuedSecret) -> NewSecret:
    set_etag(response, issued.endpoint.version)
    return NewSecret(**_build_webhook(issued.endpoint).model_dump(), secret=issued.secret)


def _build_webhook(view: EndpointView) -> Webhook:
    values = {name: getattr(view, name) for name in Webhook.model_fields}
    return Webhook(**{**values, "event_types": list(view.event_types)})


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/webhooks",
        handler=list_webhooks,
        action=actions.WEBHOOK_READ,
        summary="List webhooks, on one page",
    ),
    Endpoint(
        method="POST",
        path="/webhooks",
        handler=create_webhook,
        action=actions.WEBHOOK_CREATE,
        summary="Add a webhook",
        status=201,
        errors=(409,),
        prepare=prepare_url_check,
    ),
    Endpoint(
        method="GET",
        path="/webhook-events",
        handler=list_webhook_events,
        action=actions.WEBHOOK_READ,
        summary="List the events that webhooks can get, on one page",
    ),
    Endpoint(
        method="GET",
        path="/webhooks/{webhook_id}",
        handler=get_webhook,
        action=actions.WEBHOOK_READ,
        summary="Read a webhook",
    ),
    Endpoint(
        method="PUT",
        path="/webhooks/{webhook_id}",
        handler=change_webhook,
        action=actions.WEBHOOK_CHANGE,
        summary="Change where a webhook sends which events",
        prepare=prepare_url_check,
    ),
    Endpoint(
        method="DELETE",
        path="/webhooks/{webhook_id}",
        handler=delete_webhook,
        action=actions.WEBHOOK_DELETE,
        summary="Delete a webhook",
        status=204,
    ),
    Endpoint(
        method="POST",
        path="/webhooks/{webhook_id}/rotate-secret",
        handler=rotate_webhook_secret,
        action=actions.WEBHOOK_ROTATE,
        summary="Replace the secret of a webhook",
        errors=(409,),
    ),
    Endpoint(
        method="POST",
        path="/webhooks/{webhook_id}/pause",
        handler=pause_webhook,
        action=actions.WEBHOOK_PAUSE,
        summary="Pause a webhook; its events wait",
    ),
    Endpoint(
        method="POST",
        path="/webhooks/{webhook_id}/resume",
        handler=resume_webhook,
        action=actions.WEBHOOK_RESUME,
        summary="Resume a webhook, and send what has waited",
    ),
    Endpoint(
        method="POST",
        path="/webhooks/{webhook_id}/test",
        handler=send_webhook_test,
        action=actions.WEBHOOK_TEST,
        summary="Send a test event",
        status=202,
        errors=(409,),
    ),
    Endpoint(
        method="GET",
        path="/webhooks/{webhook_id}/deliveries",
        handler=list_webhook_deliveries,
        action=actions.WEBHOOK_READ,
        summary="List the deliveries of a webhook, newest first",
    ),
    Endpoint(
        method="POST",
        path="/webhooks/{webhook_id}/replay-failed",
        handler=replay_failed_deliveries,
        action=actions.WEBHOOK_REPLAY,
        summary="Send deliveries that were given up again",
        errors=(409,),
    ),
    Endpoint(
        method="GET",
        path="/webhook-deliveries/{delivery_id}",
        handler=get_webhook_delivery,
        action=actions.WEBHOOK_READ,
        summary="Read a delivery with its request and the answers",
    ),
    Endpoint(
        method="POST",
        path="/webhook-deliveries/{delivery_id}/replay",
        handler=replay_webhook_delivery,
        action=actions.WEBHOOK_REPLAY,
        summary="Send an ended delivery again, with the same event id",
        status=204,
        errors=(409,),
    ),
]
