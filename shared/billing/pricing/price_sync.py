"""Push our prices to the provider and compare them. No call to the provider runs inside a transaction.

The worker does both on schedule for plans that all tenants can buy. Operators do both on request, including plans for a
single tenant, which the worker's database role can't read outside of the tenant.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.billing import provider_registry, usage, verify_key
from shared.billing.models import Price
from shared.billing.pricing import prices, repricing
from shared.billing.pricing import prices_repository as repository
from shared.billing.provider import KeyRefused, Provider, ProviderDown, ProviderRefused
from shared.billing.provider_values import PriceTag, RemotePrice
from shared.core import db, live_events, log, money
from shared.core.db import now
from shared.entitlements.models import Plan, PlanVersion

POLL_INTERVAL_S = 20.0  # seconds between checks for due jobs


RETRY_INTERVAL_S = 300.0  # seconds until a failed job is due again


@dataclass(frozen=True, slots=True)
class PriceSyncResult:
    count: int = 0
    drifted_count: int = 0
    failures: tuple[str, ...] = ()  # error messages
    is_cut_short: bool = False  # the provider didn't respond, so that prices are left


@dataclass(frozen=True, slots=True)
class PushedPrice:
    """A price of ours and, where it has been pushed, its id at the provider."""

    price: Price
    tag: PriceTag
    external_id: str


async def push_prices(role: db.DatabaseRole = "app", *, repair: bool = False) -> PriceSyncResult:
    """Pushes current and scheduled prices that an account lacks. Idempotent.

    `repair`: restores prices that differ at the provider too. The schedule never does, so that an operator sees them
    first.
    """
    count, failed = 0, list[str]()
    for account_id, provider in await _list_providers(role):
        pushed = dict[str, str]()
        async with db.transaction(role) as session:
            rows = await repository.list_prices(session)
            provider_prices = await repository.get_provider_prices_by_id(session, account_id)
        sellable_ids = _find_sellable_ids([price for price, _, _ in rows], now())
        for price, version, plan in rows:
            provider_price = provider_prices.get(price.id)
            is_pushed = (
                provider_price is not None
                and provider_price.external_id
                and not (repair and provider_price.drift)
            )
            if price.id not in sellable_ids or is_pushed or plan.retired_at is not None:
                continue
            try:
                pushed[price.id] = await provider.push_price(to_price_tag(price, version, plan))
            except ProviderRefused as refusal:
                failed.append(f"{plan.name}, {prices.format_title(price)}: {refusal.message}")
                continue
            except (ProviderDown, KeyRefused) as problem:
                failed.append(_describe_outage(account_id, problem))
                break
        async with db.transaction(role) as session:
            for price_id, external_id in pushed.items():
                await repository.save_pushed_price(session, account_id, price_id, external_id, now())
        count += len(pushed)
    if count:
        await _notify_pages(role)
    return PriceSyncResult(count, failures=tuple(failed))


async def compare_prices(role: db.DatabaseRole = "app") -> PriceSyncResult:
    """Compares all pushed prices with the provider and stores the differences."""
    count, drifted, failed, is_cut_short = 0, 0, list[str](), False
    for account_id, provider in await _list_providers(role):
        compared = dict[str, dict[str, list[str]]]()
        for pushed_price in await _list_pushed_prices(role, account_id):
            try:
                remote_price = await provider.read_price(pushed_price.tag)
            except ProviderRefused as refusal:
                failed.append(
                    f"{pushed_price.tag.product_name}, {prices.format_title(pushed_price.price)}: {refusal.message}"
                )
                log.get_logger(__name__).error(
                    "price_not_compared",
                    account=account_id,
                    price=pushed_price.price.id,
                    said=refusal.message,
                )
                continue
            except (ProviderDown, KeyRefused) as problem:
                failed.append(_describe_outage(account_id, problem))
                is_cut_short |= isinstance(problem, ProviderDown)
                break
            if drift := find_differences(pushed_price, remote_price):
                log.get_logger(__name__).error(
                    "price_drifted", account=account_id, price=pushed_price.price.id, what=drift
                )
            compared[pushed_price.price.id] = drift
        async with db.transaction(role) as session:
            for price_id, drift in compared.items():
                await repository.save_comparison(session, account_id, price_id, drift, now())
        count, drifted = count + len(compared), drifted + sum(bool(drift) for drift in compared.values())
    await _notify_pages(role)
    return PriceSyncResult(count, drifted, tuple(failed), is_cut_short)


def to_price_tag(price: Price, version: PlanVersion, plan: Plan) -> PriceTag:
    """The price in the provider's terms. A version is a product with the name of its plan."""
    return PriceTag(
        id=price.id,
        product_id=version.id,
        product_name=plan.name,
        period="year" if price.period == "year" else "month",
        kind="flat" if price.kind == "flat" else "seat" if price.kind == "seat" else "metered",
        currency=price.currency,
        amount=price.amount,
        tiers=tuple(prices.read_tiers(price)),
        tiers_mode=price.tiers_mode,
        meter=price.meter,
        tax_behavior=price.tax_behavior,
    )


def find_differences(pushed_price: PushedPrice, remote_price: RemotePrice) -> dict[str, list[str]]:
    """Differences by field: ours and theirs, in words."""
    our_tag, remote_tag = pushed_price.tag, remote_price.tag
    if remote_tag is None:
        return {"Price": [pushed_price.external_id, "gone"]}
    values = {"Price": (pushed_price.external_id, remote_price.external_id)}
    values["Sold"] = ("yes", "yes" if remote_price.active else "archived")
    values["Product"] = (our_tag.product_id, remote_tag.product_id)
    if remote_tag.product_name:
        values["Name"] = (our_tag.product_name, remote_tag.product_name)
    values["Period"] = (our_tag.period, remote_tag.period)
    values["Kind"] = (our_tag.kind, remote_tag.kind)
    values["Meter"] = (our_tag.meter, remote_tag.meter)
    values["Tax"] = (prices.TAX_TEXTS[our_tag.tax_behavior], prices.TAX_TEXTS[remote_tag.tax_behavior])
    values["Amount"] = (_format_amount(our_tag), _format_amount(remote_tag))
    return {
        label: [our_value or "none", remote_value or "none"]
        for label, (our_value, remote_value) in values.items()
        if our_value != remote_value
    }


def _format_amount(tag: PriceTag) -> str:
    if not tag.tiers:
        return money.format_amount(tag.amount, tag.currency)
    steps = [
        f"{'rest' if up_to is None else f'to {up_to:,}'} {money.format_amount(unit, tag.currency)}"
        f"{f' and {money.format_amount(flat, tag.currency)}' if flat else ''}"
        for up_to, unit, flat in tag.tiers
    ]
    return f"{tag.tiers_mode}: {', '.join(steps)}"


def _find_sellable_ids(all_prices: Sequence[Price], at: datetime) -> set[str]:
    """Ids of current and scheduled prices; past ones are no longer sold."""
    return {price.id for price in prices.select_current_prices(all_prices, at).values()} | {
        price.id for price in all_prices if price.effective_at > at
    }


async def _list_pushed_prices(role: db.DatabaseRole, account_id: str) -> list[PushedPrice]:
    async with db.transaction(role) as session:
        rows = await repository.list_prices(session)
        external_ids = await repository.list_external_ids(
            session, account_id, [price.id for price, _, _ in rows]
        )
    return [
        PushedPrice(price, to_price_tag(price, version, plan), external_ids[price.id])
        for price, version, plan in rows
        if price.id in external_ids and plan.retired_at is None
    ]


async def _list_providers(role: db.DatabaseRole) -> list[tuple[str, Provider]]:
    async with db.transaction(role) as session:
        account_ids = await repository.list_active_account_ids(session)
    return [(account_id, await provider_registry.get(account_id, role)) for account_id in account_ids]


def _describe_outage(account_id: str, problem: Exception) -> str:
    log.get_logger(__name__).warning("provider_silent", account=account_id, problem=type(problem).__name__)
    if isinstance(problem, KeyRefused):
        return "Stripe rejected our key."
    return "Stripe isn’t responding."


async def _notify_pages(role: db.DatabaseRole) -> None:
    async with db.transaction(role) as session:
        await live_events.refresh_pages(session, prices.ALL_PAGES, prices.TOPIC)


PeriodicJob = Callable[[], Awaitable[object]]


PERIODIC_JOBS: dict[str, tuple[float, PeriodicJob]] = {  # seconds between two of them
    "whose_key": (
        3_600.0,
        verify_key.verify_keys,
    ),  # first, and at every start: a key changes with the settings
    "push": (60.0, push_prices),
    "report_usage": (300.0, usage.report),
    "reprice": (3_600.0, repricing.reprice_subscriptions),  # more often than `repricing.AHEAD`
    "compare": (6 * 3_600.0, compare_prices),
}


async def run() -> None:
    """Runs in every worker; all steps are idempotent."""
    due = dict.fromkeys(PERIODIC_JOBS, time.monotonic())
    while True:
        for name, (interval, job) in PERIODIC_JOBS.items():
            if due[name] <= time.monotonic():
                due[name] = time.monotonic() + (
                    interval if await _run_job(name, job) else min(interval, RETRY_INTERVAL_S)
                )
        await asyncio.sleep(POLL_INTERVAL_S)


async def _run_job(name: str, job: PeriodicJob) -> bool:
    """Runs a job and logs its failure, so that the other jobs continue."""
    try:
        await job()
    except Exception:
        log.get_logger(__name__).exception("prices_round_failed", round=name)
        return False
    return True
