"""The price list as operators read and change it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing.models import Price, ProviderPrice
from shared.billing.pricing import prices
from shared.billing.pricing.meters import METERS
from shared.billing.pricing.prices import Tier
from shared.core import live_events, money
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.entitlements.models import Plan, PlanVersion

AUDIT_REASON = "Prices at the provider"  # of what changes nothing that anybody pays


async def request_push(octx: OperatorCtx) -> None:
    """Asked and recorded in a transaction of the operator; then `push` follows outside of it."""
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    audit_log.record_operator(octx, "prices.pushed", "*", reason=AUDIT_REASON)


async def request_compare(octx: OperatorCtx) -> None:
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    audit_log.record_operator(octx, "prices.compared", "*", reason=AUDIT_REASON)


@dataclass(frozen=True, slots=True)
class VersionPrices:
    plan: Plan
    version: PlanVersion
    prices: Sequence[Price]  # oldest first, and so is the history of each part


@dataclass(frozen=True, slots=True)
class PriceHistory:
    """Newest version first. `there`: where a price stands, by its id, one for each account that knows of it."""

    versions: Sequence[VersionPrices]
    provider_prices: Mapping[str, Sequence[ProviderPrice]] = field(default_factory=dict)


async def list_price_history(octx: OperatorCtx) -> PriceHistory:
    """Of every published version, also of those without a price, and of what only one tenant is offered."""
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    by_version: dict[str, list[Price]] = {}
    for price, _, _ in await prices.list_with_versions(octx.session):
        by_version.setdefault(price.plan_version_id, []).append(price)
    provider_prices: dict[str, list[ProviderPrice]] = {}
    for provider_price in await prices.list_provider_prices(octx.session):
        provider_prices.setdefault(provider_price.price_id, []).append(provider_price)
    versions = [
        VersionPrices(plan, version, by_version.get(version.id, []))
        for plan, version in await prices.list_published_versions(octx.session)
    ]
    return PriceHistory(versions, provider_prices)


async def set_price(
    octx: OperatorCtx,
    version_id: str,
    period: str,
    kind: str,
    *,
    currency: str = "usd",
    amount: int = 0,
    tiers: Sequence[Tier] = (),
    meter: str = "",
    effective_at: datetime | None = None,
    reason: str,
) -> Price:
    """Of one part, from `effective_at` on; None for at once. `tiers` instead of `amount`, each for what lies within it.

    Raises Invalid, NotFound, Conflict for a version that is no longer or not yet sold, or a time that is taken.
    """
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    reason, asked_at = _clean_reason(reason), now()
    _check_fields(period, kind, currency, amount, tiers, meter)
    if effective_at is not None and (effective_at.tzinfo is None or effective_at <= asked_at):
        raise Invalid(
            "A price cannot begin in the past: what was billed then is billed.",
            "Choose a later time, or leave it empty for at once.",
            fields={"effective_at": "Must lie ahead"},
        )
    locked = await prices.lock_version(octx.session, version_id)
    if locked is None:
        raise NotFound("There is no such version of a plan or add-on.", "Reload the page.")
    version, plan = locked
    version_prices = await prices.list_version_prices(octx.session, version.id)
    _check_sellable(plan, version, kind, currency, version_prices)
    price = Price(
        plan_version_id=version.id,
        for_tenant=version.for_tenant,
        period=period,
        kind=kind,
        currency=currency,
        amount=amount,
        tiers=[tier._asdict() for tier in tiers],
        tiers_mode="graduated" if tiers else "",
        meter=meter,
        effective_at=effective_at or asked_at,
        created_by=octx.actor.name,
        reason=reason,
    )
    before = prices.select_current_prices(version_prices, price.effective_at).get(prices.get_price_key(price))
    if before is not None and _has_same_amount(before, price):
        raise Conflict(f"{plan.name} costs that already.", "Nothing was changed.")
    if not await prices.add(octx.session, price):
        raise Conflict(
            f"Another price of {plan.name} begins at that very time.", "Choose another time for this one."
        )
    audit_log.record_operator(
        octx,
        "price.set",
        price.id,
        reason=reason,
        name=plan.name,
        version=version.number,
        **({"for_tenant": version.for_tenant} if version.for_tenant else {}),
        before={prices.format_title(price): prices.format_price(before) if before else "not asked for"},
        after={prices.format_title(price): prices.format_price(price)},
        in_force_from=f"{price.effective_at:%-d %B %Y, %H:%M} UTC",
    )
    await live_events.refresh_pages(octx.session, prices.ALL_PAGES, prices.TOPIC)
    return price


def _check_fields(
    period: str, kind: str, currency: str, amount: int, tiers: Sequence[Tier], meter: str
) -> None:
    problems = {}
    money.require_currency(currency)
    if period not in prices.PERIODS:
        problems["period"] = "A price is for a month or a year."
    if kind not in prices.KINDS:
        problems["kind"] = "A price is flat, per seat, or metered."
    if (kind == "metered") != (meter != "") or (meter and meter not in METERS):
        problems["meter"] = (
            f"What is metered needs one of these meters, and nothing else does: {', '.join(METERS)}."
        )
    if not 0 <= amount <= prices.MAX_AMOUNT:
        problems["amount"] = (
            f"An amount is from {money.format_amount(0, currency)} to {money.format_amount(prices.MAX_AMOUNT, currency)}."
        )
    if tiers and (kind != "metered" or amount):
        problems["tiers"] = "Only what is metered has steps, and then no other amount."
    elif tiers and (problem := _find_tier_problem(tiers)):
        problems["tiers"] = problem
    if problems:
        raise Invalid(" ".join(problems.values()), "Nothing was changed. Correct it.", fields=problems)


def _find_tier_problem(tiers: Sequence[Tier]) -> str:
    ends = [tier.up_to for tier in tiers]
    closed_ends = [end for end in ends if end is not None]
    if ends[-1] is not None or len(closed_ends) != len(ends) - 1:
        return "The last step is open, and only the last one: somebody may always use more."
    if any(later <= earlier for earlier, later in zip([0, *closed_ends], closed_ends, strict=False)):
        return "Each step ends above the one before it."
    if closed_ends and closed_ends[-1] > prices.MAX_UNITS:
        return f"A step ends at {prices.MAX_UNITS:,} at most."
    if any(not 0 <= amount <= prices.MAX_AMOUNT for tier in tiers for amount in (tier.unit, tier.flat)):
        return "No step has a negative amount, or one of more than eight digits."
    return ""


def _check_sellable(
    plan: Plan, version: PlanVersion, kind: str, currency: str, version_prices: Sequence[Price]
) -> None:
    if version.status != "published":
        raise Conflict(
            f"Version {version.number} of {plan.name} is a draft.",
            "Publish it first, from a later day on if nobody should get it without a price.",
        )
    if plan.retired_at is not None:
        raise Conflict(f"{plan.name} is retired.", "Nobody can buy it any more.")
    if plan.kind == "addon" and kind != "flat":
        raise Invalid(
            "An add-on is sold by the piece.",
            "Give it a flat price: it counts for each one.",
            fields={"kind": "Flat only"},
        )
    if version_prices and version_prices[0].currency != currency:
        raise Conflict(
            f"{plan.name} is sold in {version_prices[0].currency.upper()}: a subscription has one currency.",
            "Create a plan of its own for the other one.",
        )


def _has_same_amount(price: Price, other: Price) -> bool:
    return (price.amount, price.tiers, price.tiers_mode) == (other.amount, other.tiers, other.tiers_mode)


def _clean_reason(reason: str) -> str:
    reason = " ".join(reason.split())
    if not 1 <= len(reason) <= prices.MAX_REASON_LENGTH:
        raise Invalid(
            "This needs a reason."
            if not reason
            else f"A reason has at most {prices.MAX_REASON_LENGTH} characters.",
            "Say why in a sentence.",
            fields={"reason": "Missing or too long"},
        )
    return reason
