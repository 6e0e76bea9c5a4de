"""Webhooks as operators see them: what came, what became of it, what it changed, and once more from the start.

That something came, and for whom, is read across tenants. What it carried and what it changed is the tenant's own:
seen with a reason, which stands in the tenant's trail, or in the operators' where nobody knows whose it is.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.audit import trail
from shared.billing import inbox, inbox_repository
from shared.billing import webhooks_repository as repository
from shared.billing.models import BillingEvent
from shared.billing.webhooks_repository import AccountPulse, Seen, Trouble, Wanted
from shared.core import notices
from shared.core.ctx import OperatorCtx
from shared.core.errors import Conflict, Invalid, NotFound
from shared.tenancy import entry

STATUSES = ("pending", "working", "parked", "dead", "done", "ignored")
FOR_LIST = "List of webhooks"  # the stated reason where the page itself is the reason
MOST, MOST_TYPES = 100, 8
LONGEST_FILTER = 255
LONGEST_SHOWN = 60_000  # characters of a payload; a page has to carry them
HIDDEN = "[hidden]"


@dataclass(frozen=True, slots=True)
class Page:
    """Newest first. `after` is the cursor of the next page, "" on the last one."""

    rows: Sequence[Seen]
    after: str = ""


@dataclass(frozen=True, slots=True)
class Pulse:
    """How the inbox stands."""

    counts: Mapping[str, int]  # every status
    oldest_s: float  # for which the oldest that is due has waited
    p95_s: float | None  # from coming in to done, in the last hour
    troubled: Sequence[tuple[str, int, int]]  # type, dead, failed so far
    accounts: Sequence[AccountPulse]

    @property
    def backlog(self) -> int:
        """Ours to do. What is parked waits for somebody else."""
        return self.counts["pending"] + self.counts["working"]


@dataclass(frozen=True, slots=True)
class Inside:
    """What a webhook carried, as text, and what looks that it asked for have changed."""

    payload: str
    effects: Sequence[BillingEvent]


async def list_received(
    octx: OperatorCtx, wanted: Wanted | None = None, *, after: str = "", limit: int = 50
) -> Page:
    """Raises Invalid for a status that does not exist."""
    policy.require_operator(octx, actions.OP_WEBHOOK_READ)
    wanted = wanted or Wanted()
    if wanted.status and wanted.status not in STATUSES:
        raise Invalid("There is no such status of a webhook.", "Choose one from the list.")
    for typed in (wanted.type, wanted.customer, wanted.event):
        if len(typed) > LONGEST_FILTER or "\0" in typed:
            raise Invalid(f"A filter has at most {LONGEST_FILTER} characters.", "Shorten it.")
    limit = min(max(limit, 1), MOST)
    async with entry.across(octx, FOR_LIST) as session:
        found = await repository.list_rows(session, wanted, after=after, limit=limit + 1)
    shown = found[:limit]
    return Page(shown, repository.cursor(shown[-1]) if len(found) > limit else "")


async def get(octx: OperatorCtx, account_id: str, event_id: str) -> Seen:
    """Raises NotFound."""
    policy.require_operator(octx, actions.OP_WEBHOOK_READ)
    async with entry.across(octx, FOR_LIST) as session:
        found = await repository.get_row(session, account_id, event_id)
    if found is None:
        raise _unknown()
    return found


async def look(octx: OperatorCtx, account_id: str, event_id: str, reason: str) -> Inside:
    """Inside of one. Raises Invalid without a reason, NotFound."""
    policy.require_operator(octx, actions.OP_WEBHOOK_READ)
    policy.require_operator(octx, actions.OP_BILLING_READ)
    seen = await get(octx, account_id, event_id)
    if not seen.tenant_id:
        async with entry.across(octx, reason) as session:
            return Inside(_shown(await repository.get_payload(session, account_id, event_id)), ())
    async with entry.visit(octx, seen.tenant_id, reason) as ctx:
        payload = await repository.get_payload(ctx.session, account_id, event_id)
        return Inside(_shown(payload), await repository.list_effects(ctx, account_id, event_id))


async def pulse(octx: OperatorCtx) -> Pulse:
    policy.require_operator(octx, actions.OP_WEBHOOK_READ)
    session = octx.session
    return Pulse(
        await counts(session),
        await repository.get_oldest_s(session),
        await repository.get_p95_s(session),
        await repository.list_troubled(session, MOST_TYPES),
        await repository.list_accounts(session, inbox.DOWN),
    )


async def troubles(octx: OperatorCtx) -> Sequence[Trouble]:
    """Accounts through which nothing can be asked now, as the worker saw it last: for the top of every page."""
    policy.require_operator(octx, actions.OP_HOME_READ)
    return await repository.list_troubles(octx.session, inbox.DOWN)


async def replay(octx: OperatorCtx, account_id: str, event_id: str, reason: str) -> None:
    """Looks at its customer once more, as if it had just come. Raises Invalid without a reason, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_WEBHOOK_REPLAY)
    seen = await get(octx, account_id, event_id)
    if not seen.customer_id:
        raise Conflict(
            "This webhook is about no customer.", "Nothing follows from it, so there is nothing to replay."
        )
    if not await inbox_repository.replay(octx.session, account_id, event_id):
        raise Conflict(
            "This webhook waits for its turn already.", "Reload the page and see what becomes of it."
        )
    trail.record_operator(
        octx, "webhook.replayed", event_id, reason=reason, name=event_id, account=account_id, was=seen.status
    )
    await notices.page(octx.session, "*", "webhooks")


async def replay_dead(octx: OperatorCtx, reason: str, *, type: str = "") -> int:
    """All that were put aside, or those of one type. How many. Raises Invalid without a reason, Conflict for none."""
    policy.require_operator(octx, actions.OP_WEBHOOK_REPLAY)
    count = await repository.replay_dead(octx.session, type)
    if not count:
        raise Conflict("No webhook is put aside.", "Reload the page.")
    trail.record_operator(octx, "webhooks.replayed", type or "*", reason=reason, count=count, type=type)
    await notices.page(octx.session, "*", "webhooks")
    return count


async def counts(session: AsyncSession) -> dict[str, int]:
    """Of every status. For services that were asked for their right, and for whoever counts."""
    found = await repository.count_by_status(session)
    return {status: found.get(status, 0) for status in STATUSES}


async def oldest_s(session: AsyncSession) -> float:
    """Seconds for which the oldest one that is due has waited. For whoever counts."""
    return await repository.get_oldest_s(session)


def _shown(payload: bytes) -> str:
    """As text to read. What would let somebody act in the customer's name is not for looking at."""
    try:
        said = json.dumps(_masked(json.loads(payload)), indent=2, ensure_ascii=False)
    except ValueError:
        said = payload.decode("utf-8", "replace")
    cut = len(said) > LONGEST_SHOWN
    return f"{said[:LONGEST_SHOWN]}\n… {len(said) - LONGEST_SHOWN:,} characters more" if cut else said


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: HIDDEN if "secret" in key and one else _masked(one) for key, one in value.items()}
    return [_masked(one) for one in value] if isinstance(value, list) else value


def _unknown() -> NotFound:
    return NotFound("There is no such webhook.", "Search for it in the list of webhooks.")
