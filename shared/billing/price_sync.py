"""Prices at the provider: pushed, and compared with ours. No call to the provider runs inside a transaction.

The worker does both by the clock for what everybody is offered; operators at once, and for what one tenant is offered
too: the worker's role of the database does not see that outside of the tenant.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.audit import trail
from shared.billing import prices, providers, repricing, usage, whose_key
from shared.billing import prices_repository as repository
from shared.billing.models import Price
from shared.billing.provider import (
    KeyRefused,
    PriceTag,
    PriceThere,
    Provider,
    ProviderDown,
    ProviderRefused,
)
from shared.core import db, log, money, notices
from shared.core.ctx import OperatorCtx
from shared.core.db import now
from shared.entitlements.models import Plan, PlanVersion

NAP = 20.0  # seconds between two looks at what is due
LATER = 300.0  # and until what failed is due again
WHY = "Prices at the provider"  # of what changes nothing that anybody pays


@dataclass(frozen=True, slots=True)
class Outcome:
    done: int = 0
    drifted: int = 0
    failed: tuple[str, ...] = ()  # why, in sentences


@dataclass(frozen=True, slots=True)
class Held:
    """A price of ours and, where it has been pushed, its id at the provider."""

    price: Price
    tag: PriceTag
    external_id: str


async def ask_push(octx: OperatorCtx) -> None:
    """Asked and recorded in a transaction of the operator; then `push` follows outside of it."""
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    trail.record_operator(octx, "prices.pushed", "*", reason=WHY)


async def ask_compare(octx: OperatorCtx) -> None:
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    trail.record_operator(octx, "prices.compared", "*", reason=WHY)


async def push(role: db.Role = "app", *, mends: bool = False) -> Outcome:
    """Everything that is in force or coming and not yet there, to each account. Twice is once.

    `mends`: also what differs there, which the clock never does: somebody should have seen it.
    """
    done, failed = 0, list[str]()
    for account_id, provider in await _sellers(role):
        pushed = dict[str, str]()
        async with db.transaction(role) as session:
            listed = await repository.list_prices(session)
            there = await repository.list_there_of(session, account_id)
        alive = _alive([price for price, _, _ in listed], now())
        for price, version, plan in listed:
            known = there.get(price.id)
            is_there = known is not None and known.external_id and not (mends and known.drift)
            if price.id not in alive or is_there or plan.retired_at is not None:
                continue
            try:
                pushed[price.id] = await provider.push_price(tag(price, version, plan))
            except ProviderRefused as refusal:
                failed.append(f"{plan.name}, {prices.title(price)}: {refusal.said}")
                continue
            except (ProviderDown, KeyRefused) as problem:
                failed.append(_silent(account_id, problem))
                break
        async with db.transaction(role) as session:
            for price_id, external_id in pushed.items():
                await repository.put_pushed(session, account_id, price_id, external_id, now())
        done += len(pushed)
    if done:
        await _tell(role)
    return Outcome(done, failed=tuple(failed))


async def compare(role: db.Role = "app") -> Outcome:
    """Whether what was pushed is there still, and is what we think it is."""
    done, drifted, failed = 0, 0, list[str]()
    for account_id, provider in await _sellers(role):
        compared = dict[str, dict[str, list[str]]]()
        for held in await _held(role, account_id):
            try:
                there = await provider.read_price(held.tag)
            except ProviderRefused as refusal:
                failed.append(f"{held.tag.product_name}, {prices.title(held.price)}: {refusal.said}")
                continue
            except (ProviderDown, KeyRefused) as problem:
                failed.append(_silent(account_id, problem))
                break
            if found := differences(held, there):
                log.get(__name__).error("price_drifted", account=account_id, price=held.price.id, what=found)
            compared[held.price.id] = found
        async with db.transaction(role) as session:
            for price_id, found in compared.items():
                await repository.put_compared(session, account_id, price_id, found, now())
        done, drifted = done + len(compared), drifted + sum(bool(found) for found in compared.values())
    await _tell(role)
    return Outcome(done, drifted, tuple(failed))


def tag(price: Price, version: PlanVersion, plan: Plan) -> PriceTag:
    """A price as the provider is to have it. A version is a product there, called as its plan."""
    return PriceTag(
        id=price.id,
        product_id=version.id,
        product_name=plan.name,
        period="year" if price.period == "year" else "month",
        kind="flat" if price.kind == "flat" else "seat" if price.kind == "seat" else "metered",
        currency=price.currency,
        amount=price.amount,
        tiers=tuple(prices.tiers(price)),
        tiers_mode=price.tiers_mode,
        meter=price.meter,
    )


def differences(held: Held, there: PriceThere) -> dict[str, list[str]]:
    """What: ours and theirs, in words."""
    ours, theirs = held.tag, there.tag
    if theirs is None:
        return {"Price": [held.external_id, "gone"]}
    found = {"Price": (held.external_id, there.external_id)}
    found["Sold"] = ("yes", "yes" if there.active else "archived")
    found["Product"] = (ours.product_id, theirs.product_id)
    if theirs.product_name:
        found["Name"] = (ours.product_name, theirs.product_name)
    found["Period"] = (ours.period, theirs.period)
    found["Kind"] = (ours.kind, theirs.kind)
    found["Meter"] = (ours.meter, theirs.meter)
    found["Amount"] = (_amount(ours), _amount(theirs))
    return {what: [one or "none", other or "none"] for what, (one, other) in found.items() if one != other}


def _amount(one: PriceTag) -> str:
    if not one.tiers:
        return money.said(one.amount, one.currency)
    steps = [
        f"{'rest' if up_to is None else f'to {up_to:,}'} {money.said(unit, one.currency)}"
        f"{f' and {money.said(flat, one.currency)}' if flat else ''}"
        for up_to, unit, flat in one.tiers
    ]
    return f"{one.tiers_mode}: {', '.join(steps)}"


def _alive(listed: Sequence[Price], at: datetime) -> set[str]:
    """In force or coming: what is past is sold to nobody any more."""
    return {one.id for one in prices.current(listed, at).values()} | {
        one.id for one in listed if one.effective_at > at
    }


async def _held(role: db.Role, account_id: str) -> list[Held]:
    async with db.transaction(role) as session:
        listed = await repository.list_prices(session)
        there = await repository.list_external(session, account_id, [price.id for price, _, _ in listed])
    return [
        Held(price, tag(price, version, plan), there[price.id])
        for price, version, plan in listed
        if price.id in there and plan.retired_at is None
    ]


async def _sellers(role: db.Role) -> list[tuple[str, Provider]]:
    async with db.transaction(role) as session:
        listed = await repository.list_accounts(session)
    return [(one, await providers.get(one, role)) for one in listed]


def _silent(account_id: str, problem: Exception) -> str:
    log.get(__name__).warning("provider_silent", account=account_id, problem=type(problem).__name__)
    if isinstance(problem, KeyRefused):
        return "The payment provider refuses our key."
    return "The payment provider does not answer now."


async def _tell(role: db.Role) -> None:
    async with db.transaction(role) as session:
        await notices.page(session, prices.EVERY_PAGE, prices.TOPIC)


# ── by the clock ─────────────────────────────────────────────────────────────────────────────────────────────────

Round = Callable[[], Awaitable[object]]
ROUNDS: dict[str, tuple[float, Round]] = {  # seconds between two of them
    "whose_key": (3_600.0, whose_key.check),  # first, and at every start: a key changes with the settings
    "push": (60.0, push),
    "report_usage": (300.0, usage.report),
    "reprice": (3_600.0, repricing.reprice),  # more often than `repricing.AHEAD`
    "compare": (6 * 3_600.0, compare),
}


async def run() -> None:
    """For the worker. Several may: everything that is done here may be done twice."""
    due = dict.fromkeys(ROUNDS, time.monotonic())
    while True:
        for name, (every, once) in ROUNDS.items():
            if due[name] <= time.monotonic():
                due[name] = time.monotonic() + (every if await _went_well(name, once) else min(every, LATER))
        await asyncio.sleep(NAP)


async def _went_well(name: str, once: Round) -> bool:
    """One that fails must not end the others."""
    try:
        await once()
    except Exception:
        log.get(__name__).exception("prices_round_failed", round=name)
        return False
    return True
