"""Trials: each person and each payment card gets as many as the settings allow.

A person is an owner of the organisation, or the member who orders. The card is known only after the checkout, by the
provider's fingerprint of its number, which is kept as a keyed hash
(https://docs.stripe.com/api/payment_methods/object#payment_method_object-card-fingerprint). So the checkout asks about the
persons and reserves their trial, and the first sync of the subscription asks about both. A trial that is refused then is
ended at once, which charges the first period.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from shared.audit import audit_log
from shared.billing import dunning, provider_registry, trial_repository
from shared.billing.dunning_messages import DunningMessage
from shared.billing.models import PLATFORM, BillingSubscription
from shared.billing.provider import ProviderRefused
from shared.billing.provider_values import CustomerState
from shared.core import crypto, log
from shared.core.config import settings
from shared.core.context import Ctx
from shared.core.errors import Conflict
from shared.entitlements.catalog import PlanOffer
from shared.jobs import queue
from shared.tenancy import billing_contacts

END_TASK = "billing.end_trial"
# A payment page is open for less than an hour. The sync judges a trial that begins after its reservation has ended.
RESERVED_FOR = timedelta(hours=1)
ACCEPTED = "accepted"
NO_PAYMENT_METHOD = "resource_missing"  # code of a refusal: the customer has nothing that pays
# Why there is no trial: the organisation has subscribed before; this member has had a trial; another owner has had one.
TrialObstacle = Literal["", "subscribed", "own", "other"]


async def has_open_grant(ctx: Ctx) -> bool:
    """Whether an operator has granted a trial that isn't used yet. The caller checks the permission."""
    return await trial_repository.find_open_grant(ctx) is not None


async def find_obstacle(ctx: Ctx, *, has_subscribed: bool) -> TrialObstacle:
    """Why this organisation gets no trial now; "" where it gets one, unless its card has had one."""
    max_trials = settings().trials_per_person
    is_refused = has_subscribed or await trial_repository.find_refusal(
        ctx, _list_actors(ctx), max_trials, with_owners=True
    )
    if not is_refused or await has_open_grant(ctx):
        return ""
    if has_subscribed:
        return "subscribed"
    # Others aren't told whose it was: that would tell of an organisation that they aren't a member of.
    is_own = bool(await trial_repository.find_refusal(ctx, [ctx.actor_id], max_trials))
    return "own" if is_own else "other"


async def reserve(ctx: Ctx, offer: PlanOffer, *, has_subscribed: bool, expected: bool | None) -> int:
    """Days of the trial that this order gets, 0 without one. Callers hold the tenant's lock.

    `expected`: whether the page has promised one. Raises Conflict where that is no longer so.
    """
    days = offer.trial_days
    is_granted = await has_open_grant(ctx)
    if days and has_subscribed and not is_granted:
        days = 0
    if days and await trial_repository.claim(
        ctx,
        await _list_persons(ctx),
        "",
        max_trials=settings().trials_per_person,
        reserved_for=RESERVED_FOR,
        is_granted=is_granted,
    ):
        days = 0
    if expected is True and not days:
        raise Conflict(
            "The free trial is no longer available for this organisation.",
            "Reload the page to see the price, then order again.",
        )
    return days


async def check_new_trials(ctx: Ctx, rows: Sequence[BillingSubscription], state: CustomerState) -> None:
    """Judges each trial once, with the first sync that sees it. A refused one is ended by a job."""
    for row in rows:
        if row.status != "trialing" or row.trial_verdict:
            continue
        fingerprint = state.card_fingerprints.get(row.id, "")
        grant = await trial_repository.find_open_grant(ctx, row.id)
        refusal = await trial_repository.claim(
            ctx,
            await _list_persons(ctx),
            await _hash_card(ctx, fingerprint),
            max_trials=settings().trials_per_person,
            is_granted=grant is not None,
        )
        # A card that is added during the trial is judged by the sync that sees it.
        row.trial_verdict = refusal or (ACCEPTED if fingerprint else "")
        ctx.session.add(row)
        if grant is not None:
            grant.subscription_id = row.id
            ctx.session.add(grant)
        if refusal:
            audit_log.record(ctx, "billing.trial_refused", row.id, cause=refusal)
            await dunning.notify_contacts(
                ctx,
                DunningMessage(
                    *(dunning.TRIAL_REFUSED, row.id, "Your subscription starts without a trial"),
                    "A free trial is for each person and each payment card once, so the first period is charged now. "
                    "You can cancel on the billing page, or contact support.",
                ),
            )
            await queue.put(ctx, END_TASK, ordered=False, subscription_id=row.id)


async def execute_end(subscription_id: str) -> None:
    """Ends the trial at the provider, outside of any transaction. Idempotent. Raises the provider's errors.

    Without a card that pays, the subscription ends: access would come before the money.
    """
    provider = await provider_registry.get(PLATFORM)
    try:
        await provider.end_trial(subscription_id, key=f"end-trial-{subscription_id}")
    except ProviderRefused as refusal:
        if refusal.kind == "subscription":  # it has ended meanwhile
            return
        log.get_tenant_logger(__name__).warning(
            "trial_not_paid", subscription_id=subscription_id, kind=refusal.kind
        )
        if refusal.kind != "card" and refusal.code != NO_PAYMENT_METHOD:
            raise
        await provider.cancel_subscription(
            subscription_id, at_period_end=False, key=f"end-unpaid-{subscription_id}"
        )


async def _list_persons(ctx: Ctx) -> list[str]:
    """Owners, and the member who acts."""
    owner_ids = set(await billing_contacts.list_owner_ids(ctx))
    return sorted(owner_ids.union(_list_actors(ctx)))


def _list_actors(ctx: Ctx) -> list[str]:
    return [ctx.actor_id] if ctx.actor.type == "user" else []


async def _hash_card(ctx: Ctx, fingerprint: str) -> str:
    """The fingerprint as a keyed hash, "" without one. Without the key, a list of fingerprints would reveal the cards."""
    if not fingerprint:
        return ""
    row = await trial_repository.get_card_key(ctx.session)
    if row is None:
        new_key = crypto.new_dek()
        await trial_repository.add_card_key(ctx.session, new_key.kek_id, new_key.wrapped)
        row = await trial_repository.get_card_key(ctx.session)
    assert row is not None
    key = crypto.unwrap_dek(crypto.WrappedKey(row.kek_id, row.wrapped))
    return hmac.new(key, fingerprint.encode(), hashlib.sha256).hexdigest()
