"""Email preferences of a member. They can turn off a kind of email; notifications in the app always appear."""

from dataclasses import dataclass

from shared.access import actions, decision, policy
from shared.core.context import Ctx
from shared.core.errors import Conflict, Invalid
from shared.tenancy import mail_preference_repository, member_repository

PAYMENTS = "payments"  # failed payments, ending subscriptions, received payments
KINDS = (PAYMENTS,)
OWNERS_CANNOT_DECLINE = "Owners always receive payment emails."


@dataclass(frozen=True, slots=True)
class MailPreferenceView:
    enabled: bool
    locked_reason: str = ""  # why it cannot be turned off


async def list_my_preferences(ctx: Ctx) -> dict[str, MailPreferenceView]:
    """The actor's preferences by kind, of the kinds that are sent to them."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    if not decision.has_permission(ctx, actions.BILLING_CHANGE):
        return {}
    if ctx.actor_id in await member_repository.list_owner_ids(ctx):
        return {PAYMENTS: MailPreferenceView(True, OWNERS_CANNOT_DECLINE)}
    return {
        PAYMENTS: MailPreferenceView(
            PAYMENTS not in await mail_preference_repository.list_declined_mail_kinds(ctx, ctx.actor_id)
        )
    }


async def set_preference(ctx: Ctx, kind: str, enabled: bool) -> None:
    """Raises Invalid for an unknown kind, Conflict for an owner, who always receives payment emails."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    if kind not in KINDS:
        raise Invalid("There is no such email type.", "Choose one from the list.")
    if not enabled and ctx.actor_id in await member_repository.list_owner_ids(ctx):
        raise Conflict(OWNERS_CANNOT_DECLINE, "Transfer ownership first.")
    await mail_preference_repository.save_mail_preference(ctx, ctx.actor_id, kind, enabled)


async def is_mail_enabled(ctx: Ctx, user_id: str, kind: str) -> bool:
    """For jobs that send emails."""
    owners = await member_repository.list_owner_ids(ctx)
    return user_id in owners or kind not in await mail_preference_repository.list_declined_mail_kinds(
        ctx, user_id
    )
