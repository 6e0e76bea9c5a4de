"""Webhook endpoints of a tenant: add, change, pause, resume, delete, rotate the secret, send a test event.

Whoever decides where events go could read them, so each of these needs the permissions of the endpoint's events too.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.access import policy
from shared.access.actions import Action
from shared.audit import audit_log, public_events
from shared.core import live_events, outbound
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.displayed_text import clean_line
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.ids import new_id
from shared.core.outbound import OutboundProblem, TargetRefused
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.core.versions import advance_version, require_version
from shared.outbound_webhooks import actions, delivery_repository, event_catalog, signing
from shared.outbound_webhooks import endpoint_repository as repository
from shared.outbound_webhooks.models import (
    DeliveryStatus,
    EndpointState,
    LastResult,
    PauseReason,
    WebhookDelivery,
    WebhookEndpoint,
)
from shared.tenancy import tenant_secrets

TOPIC = "webhooks"  # of live events
MAX_ENDPOINTS = 20  # of one tenant
MAX_URL_LENGTH, MAX_DESCRIPTION_LENGTH = 500, 100
OVERLAP = timedelta(hours=24)  # both secrets sign
SECRET_FIELD, PREVIOUS_SECRET_FIELD = "webhook_endpoint.secret", "webhook_endpoint.previous_secret"
OLDER_SECRET_FIELD = "webhook_endpoint.older_secret"
URL_TEXTS = {
    OutboundProblem.HOST_UNUSABLE: "This host can’t be used: it wasn’t found on the public internet.",
    OutboundProblem.INVALID_URL: "Only https:// addresses on port 443, without a user name or a #fragment, are possible.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointView:
    """An endpoint without its secrets. `can_manage`: the actor has the permissions of all its events."""

    id: str
    url: str
    description: str
    event_types: tuple[str, ...]
    api_version: str
    state: EndpointState
    pause_reason: PauseReason
    paused_at: datetime | None
    previous_secret_ends_at: datetime | None  # None or past: one secret signs
    failure_count: int
    failing_since: datetime | None
    last_attempt_at: datetime | None
    last_result: LastResult
    last_status: int
    last_problem: str
    created_at: datetime
    created_by: str
    version: int
    can_manage: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedSecret:
    """A new secret, which is shown once."""

    endpoint: EndpointView
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlCheck:
    """A look-up of a host that the tenant may make now."""

    tenant_id: str
    url: str


async def begin_url_check(ctx: Ctx, url: str) -> UrlCheck:
    """Ask to look up the host of an address that a member enters. Await `check_url` of it outside of transactions.

    Raises Refused for one who can't add webhooks, and for too many; Invalid.
    """
    policy.require(ctx, actions.WEBHOOK_CHANGE)
    url = _clean_url(url)
    await enforce_rate_limit(RateLimit.WEBHOOK_HOST_TENANT, ctx.tenant_id)
    return UrlCheck(tenant_id=ctx.tenant_id, url=url)


async def check_url(check: UrlCheck) -> None:
    """Raises Invalid, in the same words for every host that isn't public or doesn't exist. Each delivery checks again."""
    try:
        await outbound.require_public_host(check.url, holder=check.tenant_id)
    except TargetRefused as refusal:
        raise _to_invalid(refusal) from None


async def list_endpoints(ctx: Ctx) -> Sequence[EndpointView]:
    """Oldest first."""
    policy.require(ctx, actions.WEBHOOK_READ)
    return [_build_view(ctx, row) for row in await repository.list_endpoints(ctx)]


async def get_endpoint(ctx: Ctx, endpoint_id: str) -> EndpointView:
    """Raises NotFound."""
    policy.require(ctx, actions.WEBHOOK_READ)
    row = await repository.get_endpoint(ctx, endpoint_id)
    if row is None:
        raise endpoint_not_found()
    return _build_view(ctx, row)


async def list_event_types(ctx: Ctx) -> Sequence[event_catalog.CatalogEntry]:
    """The catalog, alphabetical."""
    policy.require(ctx, actions.WEBHOOK_READ)
    return event_catalog.build_catalog(ctx)


async def create(ctx: Ctx, url: str, description: str, event_types: Collection[str]) -> IssuedSecret:
    """Raises Invalid, Conflict for one too many, Refused for events that the actor can't read."""
    policy.require(ctx, actions.WEBHOOK_CREATE)
    url, description = _clean_url(url), _clean_description(description)
    names = event_catalog.clean_event_types(event_types)
    event_catalog.require_readable(ctx, names)
    await repository.lock_new_endpoints(ctx)
    if await repository.count_endpoints(ctx) >= MAX_ENDPOINTS:
        raise Conflict(
            f"An organisation has at most {MAX_ENDPOINTS} webhooks.", "Delete one that isn’t needed."
        )
    secret, endpoint_id = signing.create_secret(), new_id("whe")
    row = WebhookEndpoint(
        tenant_id=ctx.tenant_id,
        id=endpoint_id,
        url=url,
        description=description,
        event_types=names,
        api_version=public_events.API_VERSION,
        secret=await tenant_secrets.seal(ctx, secret, SECRET_FIELD, endpoint_id),
        created_by=ctx.actor.name,
    )
    ctx.session.add(row)
    audit_log.record(ctx, "webhook.created", row.id, after=_audit_fields(row), name=url)
    await _publish_change(ctx)
    return IssuedSecret(endpoint=_build_view(ctx, row), secret=secret)


async def change(
    ctx: Ctx,
    endpoint_id: str,
    url: str,
    *,
    description: str,
    event_types: Collection[str],
    version: int | None,
) -> EndpointView:
    """`version`: of the endpoint that was read. Raises Invalid, NotFound, Refused, ChangedMeanwhile."""
    policy.require(ctx, actions.WEBHOOK_CHANGE)
    url, description = _clean_url(url), _clean_description(description)
    names = event_catalog.clean_event_types(event_types)
    event_catalog.require_readable(ctx, names)
    row = await _lock(ctx, endpoint_id)
    values: dict[str, tuple[object, object]] = {
        "Address": (row.url, url),
        "Description": (row.description, description),
        "Events that differ": (frozenset(row.event_types), frozenset(names)),
    }
    require_version(row, version, "this webhook", values)
    before = _audit_fields(row)
    row.url, row.description, row.event_types = url, description, names
    if _audit_fields(row) != before:
        advance_version(row, ctx.actor.name)
        ctx.session.add(row)
        audit_log.record(ctx, "webhook.changed", row.id, before=before, after=_audit_fields(row), name=url)
        await _publish_change(ctx)
    return _build_view(ctx, row)


async def pause(ctx: Ctx, endpoint_id: str) -> EndpointView:
    """Its events wait until it is resumed. Raises NotFound, Refused."""
    policy.require(ctx, actions.WEBHOOK_PAUSE)
    row = await _lock(ctx, endpoint_id)
    if row.state is not EndpointState.PAUSED:
        await mark_paused(ctx, row, PauseReason.MEMBER)
    return _build_view(ctx, row)


async def mark_paused(ctx: Ctx, row: WebhookEndpoint, reason: PauseReason) -> None:
    """For services and jobs that hold the endpoint's lock."""
    row.state, row.pause_reason, row.paused_at = EndpointState.PAUSED, reason, now()
    ctx.session.add(row)
    audit_log.record(ctx, "webhook.paused", row.id, after={"cause": reason.value}, name=row.url)
    await _publish_change(ctx)


async def resume(ctx: Ctx, endpoint_id: str) -> EndpointView:
    """What has waited is sent now, each with all its attempts. Raises NotFound, Refused."""
    policy.require(ctx, actions.WEBHOOK_RESUME)
    row = await _lock(ctx, endpoint_id)
    if row.state is EndpointState.PAUSED:
        row.state, row.pause_reason, row.paused_at = EndpointState.ACTIVE, PauseReason.NONE, None
        row.failure_count, row.failing_since, row.turn_at = 0, None, now()
        ctx.session.add(row)
        await delivery_repository.make_due(ctx, row.id)
        audit_log.record(ctx, "webhook.resumed", row.id, name=row.url)
        await _publish_change(ctx)
    return _build_view(ctx, row)


async def delete(ctx: Ctx, endpoint_id: str) -> None:
    """Nothing is sent to it any more. Its secrets are erased now, its deliveries with the old events. Raises NotFound, Refused."""
    policy.require(ctx, actions.WEBHOOK_DELETE)
    row = await repository.lock_endpoint(ctx, endpoint_id)
    if row is None:
        raise endpoint_not_found()
    row.deleted_at, row.turn_at = now(), None
    row.secret, row.previous_secret, row.previous_secret_ends_at = None, None, None
    row.older_secret, row.older_secret_ends_at = None, None
    ctx.session.add(row)
    audit_log.record(ctx, "webhook.deleted", row.id, before=_audit_fields(row), name=row.url)
    await _publish_change(ctx)


async def rotate_secret(ctx: Ctx, endpoint_id: str, *, overlap: timedelta = OVERLAP) -> IssuedSecret:
    """A new secret. The present one signs as well until `overlap` has passed, and one before it until its own time is over.

    So whoever didn't get the new secret may rotate again. Without an overlap, the new one signs alone.
    Raises Invalid for an overlap of more than `OVERLAP`, NotFound, Refused, Conflict for a third rotation in one overlap.
    """
    policy.require(ctx, actions.WEBHOOK_ROTATE)
    if not timedelta() <= overlap <= OVERLAP:
        raise Invalid(
            "The previous secret signs for at most 24 hours.",
            "Choose a shorter time.",
            fields={"overlap": "At most 24 hours"},
        )
    row = await _lock(ctx, endpoint_id)
    secret = signing.create_secret()
    if overlap:
        await _keep_secrets(ctx, row, overlap)
    else:
        row.previous_secret, row.previous_secret_ends_at = None, None
        row.older_secret, row.older_secret_ends_at = None, None
    row.secret = await tenant_secrets.seal(ctx, secret, SECRET_FIELD, row.id)
    ctx.session.add(row)
    hours = round(overlap.total_seconds() / 3600)
    audit_log.record(ctx, "webhook.secret_rotated", row.id, name=row.url, overlap_hours=hours)
    await _publish_change(ctx)
    return IssuedSecret(endpoint=_build_view(ctx, row), secret=secret)


async def _keep_secrets(ctx: Ctx, row: WebhookEndpoint, overlap: timedelta) -> None:
    """The present secret becomes the previous one, and a previous one that signs still the older one. Raises Conflict."""
    at, key = now(), await tenant_secrets.read_key(ctx)
    assert row.secret is not None  # it isn't deleted
    if row.previous_secret is not None and _is_after(row.previous_secret_ends_at, at):
        if _is_after(row.older_secret_ends_at, at):
            raise Conflict(
                "This secret was rotated twice already, and the two before it sign still.",
                "Wait until the first of them has ended, or rotate without an overlap.",
            )
        previous = tenant_secrets.unseal(
            ctx, key, row.previous_secret, field=PREVIOUS_SECRET_FIELD, row_id=row.id
        )
        row.older_secret = await tenant_secrets.seal(ctx, previous, OLDER_SECRET_FIELD, row.id)
        row.older_secret_ends_at = row.previous_secret_ends_at
    present = tenant_secrets.unseal(ctx, key, row.secret, field=SECRET_FIELD, row_id=row.id)
    row.previous_secret = await tenant_secrets.seal(ctx, present, PREVIOUS_SECRET_FIELD, row.id)
    row.previous_secret_ends_at = at + overlap


def _is_after(ends_at: datetime | None, at: datetime) -> bool:
    return ends_at is not None and ends_at > at


async def send_test(ctx: Ctx, endpoint_id: str) -> str:
    """Put a test event into the queue of an endpoint. Returns the id of its delivery. Raises NotFound, Refused, Conflict."""
    policy.require(ctx, actions.WEBHOOK_TEST)
    await enforce_rate_limit(RateLimit.WEBHOOK_TEST_TENANT, ctx.tenant_id)
    row = await _lock(ctx, endpoint_id)
    if row.state is EndpointState.PAUSED:
        raise Conflict("This webhook is paused.", "Resume it, then send the test event.")
    data = {"endpoint_id": row.id, "sent_by": ctx.actor.name}
    event = public_events.build_row(
        ctx.tenant_id, event_catalog.TEST_EVENT, now(), data=data, request_id=ctx.request_id
    )
    event.fanned_out_at = event.created_at  # for this endpoint only
    ctx.session.add(event)
    await ctx.session.flush()
    assert event.seq is not None  # given by the database
    delivery = WebhookDelivery(
        tenant_id=ctx.tenant_id,
        id=new_id("whd"),
        endpoint_id=row.id,
        event_id=event.id,
        event_type=event.type,
        seq=event.seq,
        is_test=True,
        status=DeliveryStatus.PENDING,
        due_at=event.created_at,
        created_at=event.created_at,
    )
    row.turn_at = event.created_at
    ctx.session.add_all([delivery, row])
    audit_log.record(ctx, "webhook.tested", row.id, name=row.url)
    await _publish_change(ctx)
    return delivery.id


async def lock_managed(ctx: Ctx, endpoint_id: str, action: Action) -> WebhookEndpoint:
    """For the services of deliveries. Raises NotFound, Refused."""
    policy.require(ctx, action)
    return await _lock(ctx, endpoint_id)


def endpoint_not_found() -> NotFound:
    return NotFound("This webhook doesn’t exist.", "Reload the page.")


async def _lock(ctx: Ctx, endpoint_id: str) -> WebhookEndpoint:
    """Raises NotFound, Refused where the actor can't read all events that it is sent, or that may be sent again."""
    row = await repository.lock_endpoint(ctx, endpoint_id)
    if row is None:
        raise endpoint_not_found()
    waiting_types = await delivery_repository.list_undelivered_types(ctx, endpoint_id)
    event_catalog.require_readable(ctx, {*row.event_types, *waiting_types})
    return row


def unseal_secrets(ctx: Ctx, key: bytes, row: WebhookEndpoint, *, at: datetime) -> list[str]:
    """Those that sign at this time, the newest first. Empty for a deleted endpoint."""
    sealed = (
        (SECRET_FIELD, row.secret, None),
        (PREVIOUS_SECRET_FIELD, row.previous_secret, row.previous_secret_ends_at),
        (OLDER_SECRET_FIELD, row.older_secret, row.older_secret_ends_at),
    )
    return [
        tenant_secrets.unseal(ctx, key, blob, field=field, row_id=row.id)
        for field, blob, ends_at in sealed
        if blob is not None and (ends_at is None or ends_at > at)
    ]


def _build_view(ctx: Ctx, row: WebhookEndpoint) -> EndpointView:
    return EndpointView(
        id=row.id,
        url=row.url,
        description=row.description,
        event_types=tuple(row.event_types),
        api_version=row.api_version,
        state=row.state,
        pause_reason=row.pause_reason,
        paused_at=row.paused_at,
        previous_secret_ends_at=row.previous_secret_ends_at,
        failure_count=row.failure_count,
        failing_since=row.failing_since,
        last_attempt_at=row.last_attempt_at,
        last_result=row.last_result,
        last_status=row.last_status,
        last_problem=row.last_problem,
        created_at=row.created_at,
        created_by=row.created_by,
        version=row.version,
        can_manage=event_catalog.can_read(ctx, row.event_types),
    )


def _clean_url(url: str) -> str:
    """Raises Invalid for what no look-up could make right."""
    text = url.strip()
    if not 1 <= len(text) <= MAX_URL_LENGTH:
        problem = f"An address has 1 to {MAX_URL_LENGTH} characters."
        raise Invalid(problem, "Correct it and try again.", fields={"url": problem})
    try:
        return str(outbound.parse_target(text, outbound.list_allowed_targets()))
    except TargetRefused as refusal:
        raise _to_invalid(refusal) from None


def _to_invalid(refusal: TargetRefused) -> Invalid:
    problem = URL_TEXTS[refusal.problem]
    return Invalid(problem, "Correct the address and try again.", fields={"url": problem})


def _clean_description(text: str) -> str:
    return clean_line(
        text, noun="description", missing="", max_length=MAX_DESCRIPTION_LENGTH, fields=("description",)
    )


def _audit_fields(row: WebhookEndpoint) -> dict[str, object]:
    return {"url": row.url, "description": row.description, "events": list(row.event_types)}


async def _publish_change(ctx: Ctx) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, TOPIC)
