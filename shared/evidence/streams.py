"""Streams of a tenant's audit log to its SIEM: add, pause, resume, delete and test them. `stream_sender` sends.

A stream begins with the first event of the chain, so that its receiver can verify all of it. Nothing is lost while it is
paused or its receiver is down: its cursor stays, and the audit log keeps its events.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.access import policy
from shared.audit import audit_log
from shared.core import live_events, outbound
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.ids import new_id
from shared.core.outbound import OutboundProblem, TargetRefused
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.evidence import actions, chain_repository
from shared.evidence import stream_repository as repository
from shared.evidence.models import AuditStream, StreamKind, StreamPause, StreamState
from shared.outbound_webhooks import signing
from shared.tenancy import tenant_secrets

TOPIC = "audit_streams"  # of live events
MAX_STREAMS = 3  # of one tenant
MAX_URL_LENGTH, MAX_TOKEN_LENGTH = 500, 200
SECRET_FIELD = "audit_stream.secret"
FIRST_HASH = b"\x00"  # before the first event of a chain
URL_TEXTS = {
    OutboundProblem.HOST_UNUSABLE: "This host can’t be used: it wasn’t found on the public internet.",
    OutboundProblem.INVALID_URL: "Only https:// addresses on port 443, without a user name or a #fragment, are possible.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamView:
    """A stream without its secret. `lag`: sealed events that it has not delivered yet."""

    id: str
    kind: StreamKind
    url: str
    state: StreamState
    pause_reason: StreamPause
    cursor: int  # number of the last event that the receiver took
    lag: int
    failure_count: int
    failing_since: datetime | None
    last_delivered_at: datetime | None
    last_status: int
    last_problem: str
    created_by: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedStream:
    """`secret`: signs the requests; shown once. "" for Splunk, whose token the tenant has."""

    stream: StreamView
    secret: str = field(repr=False)


async def list_streams(ctx: Ctx) -> Sequence[StreamView]:
    """Oldest first."""
    policy.require(ctx, actions.AUDIT_STREAM_READ)
    head, _ = await chain_repository.get_head(ctx)
    return [_build_view(row, head) for row in await repository.list_streams(ctx)]


async def begin_url_check(ctx: Ctx, url: str) -> Callable[[], Awaitable[None]]:
    """Ask to look up the host of an address. Await the answer outside of transactions; it raises Invalid.

    Raises Refused, Invalid.
    """
    policy.require(ctx, actions.AUDIT_STREAM_CREATE)
    clean_url = _clean_url(url)
    await enforce_rate_limit(RateLimit.WEBHOOK_HOST_TENANT, ctx.tenant_id)
    tenant_id = ctx.tenant_id

    async def check() -> None:
        try:
            await outbound.require_public_host(clean_url, holder=tenant_id)
        except TargetRefused as refusal:
            raise _to_invalid(refusal) from None

    return check


async def create(ctx: Ctx, kind: str, url: str, *, token: str = "") -> IssuedStream:
    """`token`: of Splunk's HTTP Event Collector. Raises Refused, Invalid, Conflict for one too many."""
    policy.require(ctx, actions.AUDIT_STREAM_CREATE)
    stream_kind, url = _parse_kind(kind), _clean_url(url)
    secret = _clean_token(token) if stream_kind is StreamKind.SPLUNK else signing.create_secret()
    await repository.lock_new_streams(ctx)
    if len(await repository.list_streams(ctx)) >= MAX_STREAMS:
        raise Conflict(f"An organisation has at most {MAX_STREAMS} streams.", "Delete one that isn’t needed.")
    stream_id = new_id("ast")
    row = AuditStream(
        tenant_id=ctx.tenant_id,
        id=stream_id,
        kind=stream_kind,
        url=url,
        secret=await tenant_secrets.seal(ctx, secret, SECRET_FIELD, stream_id),
        cursor_seq=0,
        cursor_hash=FIRST_HASH,
        created_by=ctx.actor.name,
    )
    ctx.session.add(row)
    audit_log.record(
        ctx, "audit_stream.created", row.id, after={"kind": stream_kind.value, "url": url}, name=url
    )
    await _publish_change(ctx)
    head, _ = await chain_repository.get_head(ctx)
    issued = "" if stream_kind is StreamKind.SPLUNK else secret
    return IssuedStream(stream=_build_view(row, head), secret=issued)


async def pause(ctx: Ctx, stream_id: str) -> None:
    """Its events wait until it is resumed. Raises NotFound, Refused."""
    policy.require(ctx, actions.AUDIT_STREAM_PAUSE)
    row = await _lock(ctx, stream_id)
    if row.state is not StreamState.PAUSED:
        await mark_paused(ctx, row, StreamPause.MEMBER)


async def mark_paused(ctx: Ctx, row: AuditStream, reason: StreamPause) -> None:
    """For services and senders that hold its lock."""
    row.state, row.pause_reason, row.paused_at = StreamState.PAUSED, reason, now()
    ctx.session.add(row)
    audit_log.record(ctx, "audit_stream.paused", row.id, after={"cause": reason.value}, name=row.url)
    await _publish_change(ctx)


async def resume(ctx: Ctx, stream_id: str) -> None:
    """What has waited is sent now, in its order. Raises NotFound, Refused."""
    policy.require(ctx, actions.AUDIT_STREAM_CHANGE)
    row = await _lock(ctx, stream_id)
    if row.state is StreamState.PAUSED:
        row.state, row.pause_reason, row.paused_at = StreamState.ACTIVE, StreamPause.NONE, None
        row.failure_count, row.failing_since, row.due_at = 0, None, None
        ctx.session.add(row)
        audit_log.record(ctx, "audit_stream.resumed", row.id, name=row.url)
        await _publish_change(ctx)


async def delete(ctx: Ctx, stream_id: str) -> None:
    """Nothing more is sent, and its secret is erased. Raises NotFound, Refused."""
    policy.require(ctx, actions.AUDIT_STREAM_DELETE)
    row = await _lock(ctx, stream_id)
    row.deleted_at, row.secret = now(), None
    ctx.session.add(row)
    audit_log.record(
        ctx, "audit_stream.deleted", row.id, before={"kind": row.kind.value, "url": row.url}, name=row.url
    )
    await _publish_change(ctx)


async def send_test(ctx: Ctx, stream_id: str) -> None:
    """The next request is a test event. Raises NotFound, Refused, Conflict for a paused stream."""
    policy.require(ctx, actions.AUDIT_STREAM_TEST)
    await enforce_rate_limit(RateLimit.WEBHOOK_TEST_TENANT, ctx.tenant_id)
    row = await _lock(ctx, stream_id)
    if row.state is StreamState.PAUSED:
        raise Conflict("This stream is paused.", "Resume it, then send the test event.")
    row.is_test_due, row.due_at = True, None
    ctx.session.add(row)
    audit_log.record(ctx, "audit_stream.tested", row.id, name=row.url)
    await _publish_change(ctx)


async def _lock(ctx: Ctx, stream_id: str) -> AuditStream:
    """Raises NotFound."""
    row = await repository.lock_stream(ctx, stream_id)
    if row is None:
        raise NotFound("This stream doesn’t exist.", "Reload the page.")
    return row


def _build_view(row: AuditStream, head: int) -> StreamView:
    return StreamView(
        id=row.id,
        kind=row.kind,
        url=row.url,
        state=row.state,
        pause_reason=row.pause_reason,
        cursor=row.cursor_seq,
        lag=max(0, head - row.cursor_seq),
        failure_count=row.failure_count,
        failing_since=row.failing_since,
        last_delivered_at=row.last_delivered_at,
        last_status=row.last_status,
        last_problem=row.last_problem,
        created_by=row.created_by,
        version=row.version,
    )


def _parse_kind(text: str) -> StreamKind:
    try:
        return StreamKind(text)
    except ValueError:
        problem = f"Choose one of {', '.join(StreamKind)}."
        raise Invalid(problem, "Correct the kind.", fields={"kind": problem}) from None


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


def _clean_token(token: str) -> str:
    """Raises Invalid for what can't be in a header."""
    text = token.strip()
    if not (1 <= len(text) <= MAX_TOKEN_LENGTH and text.isascii() and text.isprintable() and " " not in text):
        problem = "Enter the token of the HTTP Event Collector, as Splunk shows it."
        raise Invalid(problem, "Correct it and try again.", fields={"token": problem})
    return text


def _to_invalid(refusal: TargetRefused) -> Invalid:
    problem = URL_TEXTS[refusal.problem]
    return Invalid(problem, "Correct the address and try again.", fields={"url": problem})


async def _publish_change(ctx: Ctx) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, TOPIC)
