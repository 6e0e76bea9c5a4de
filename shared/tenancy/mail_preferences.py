"""Email preferences of a member. They can turn off a kind of email; notifications in the app always appear."""

from dataclasses import dataclass

from shared.access import actions, decision, policy
from shared.core.context import Ctx
from shared.core.errors import Conflict, Invalid
from shared.tenancy import mail_preference_repository, member_repository

PAYMENTS = "payments"  # failed payments, ending subscriptions, received payments
REMINDERS = "reminders"  # renewals, cards that expire
KINDS = (PAYMENTS, REMINDERS)
OWNERS_CANNOT_DECLINE = "Owners always receive payment emails."


@dataclass(frozen=True, slots=True)
class MailPreferenceView:
    enabled: bool
    locked_reason: str = ""  # why it cannot be turned off


async def list_my_preferences(ctx: Ctx) -> dict[str, MailPreferenceView]:
    """The actor's preferences by kind, of the kinds that are sent to them."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    person_id = policy.require_person(ctx)
    if not decision.has_permission(ctx, actions.BILLING_CHANGE):
        return {}
    declined_kinds = await mail_preference_repository.list_declined_mail_kinds(ctx, person_id)
    preferences = {kind: MailPreferenceView(kind not in declined_kinds) for kind in KINDS}
    if person_id in await member_repository.list_owner_ids(ctx):
        preferences[PAYMENTS] = MailPreferenceView(True, OWNERS_CANNOT_DECLINE)
    return preferences


async def set_preference(ctx: Ctx, kind: str, enabled: bool) -> None:
    """Raises Invalid for an unknown kind, Conflict for an owner, who always receives emails about payments."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    if kind not in KINDS:
        raise Invalid("There is no such email type.", "Choose one from the list.")
    person_id = policy.require_person(ctx)
    is_declined = kind == PAYMENTS and not enabled
    if is_declined and person_id in await member_repository.list_owner_ids(ctx):
        raise Conflict(OWNERS_CANNOT_DECLINE, "Transfer ownership first.")
    await mail_preference_repository.save_mail_preference(ctx, person_id, kind, enabled)


async def is_mail_enabled(ctx: Ctx, user_id: str, kind: str) -> bool:
    """For jobs that send emails."""
    if kind == PAYMENTS and user_id in await member_repository.list_owner_ids(ctx):
        return True
    return kind not in await mail_preference_repository.list_declined_mail_kinds(ctx, user_id)
