"""Which mails a person wants from an organisation. In the app everything is told; mails of a kind can be declined."""

from dataclasses import dataclass

from shared.access import actions, decision, policy
from shared.core.ctx import Ctx
from shared.core.errors import Conflict, Invalid
from shared.tenancy import repository

PAYMENTS = "payments"  # what failed, what ends, what arrived
KINDS = (PAYMENTS,)
OWNERS = "Owners always get them: somebody has to hear of a payment that failed."


@dataclass(frozen=True, slots=True)
class Choice:
    wanted: bool
    refused: str = ""  # why it cannot be declined


async def mine(ctx: Ctx) -> dict[str, Choice]:
    """By kind, of those that are sent to who asks."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    if not decision.holds(ctx, actions.BILLING_CHANGE):
        return {}
    if ctx.actor_id in await repository.list_owner_ids(ctx):
        return {PAYMENTS: Choice(True, OWNERS)}
    return {PAYMENTS: Choice(PAYMENTS not in await repository.list_declined(ctx, ctx.actor_id))}


async def choose(ctx: Ctx, kind: str, wanted: bool) -> None:
    """Raises Invalid, Conflict for an owner: somebody has to hear that a payment failed."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    if kind not in KINDS:
        raise Invalid("There are no such mails.", "Choose one from the list.")
    if not wanted and ctx.actor_id in await repository.list_owner_ids(ctx):
        raise Conflict(OWNERS, "Hand over the ownership first.")
    await repository.put_mail_choice(ctx, ctx.actor_id, kind, wanted)


async def wants(ctx: Ctx, user_id: str, kind: str) -> bool:
    """For jobs that write to somebody."""
    owners = await repository.list_owner_ids(ctx)
    return user_id in owners or kind not in await repository.list_declined(ctx, user_id)
