"""Record metered usage and report it to the provider.

Each row is sent with its own identifier until the provider confirms it. The provider forgets identifiers after a day,
so rows that are unconfirmed for that long are left to an operator rather than billed twice. Usage of a period that was
invoiced already is billed with the running one; where nothing will be invoiced any more, operators are told. Usage from before
a subscription was sold, or of its trial, stays free. Prepaid credits pay for usage before it is reported; only the rest is.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import meters
from shared.billing import provider_registry, usage_periods
from shared.billing import usage_repository as repository
from shared.billing.models import BillingUsage
from shared.billing.prepaid import prepaid_usage
from shared.billing.pricing import prices_repository
from shared.billing.provider import KeyRefused, ProviderDown, ProviderRefused
from shared.billing.sync import provider_records
from shared.billing.usage_periods import ENDED, REFUSED, MeterTerm, Placement
from shared.core import db, log
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Invalid
from shared.entitlements import subscription_grants

IDENTIFIER_LIFETIME = timedelta(hours=23)  # less than the day for which Stripe remembers identifiers
BATCH_SIZE = 500
MAX_IDENTIFIER_LENGTH = 100  # characters


async def record(ctx: Ctx, meter: str, quantity: int, at: datetime, identifier: str) -> bool:
    """`quantity`: in the unit of the meter. False where this identifier was already recorded. Raises Invalid.

    For services that measure usage; it checks no permission. Usage of a test tenant costs nothing and is not recorded.
    """
    if (
        not meters.is_sold(meter)
        or quantity < 1
        or at.tzinfo is None
        or not 1 <= len(identifier) <= MAX_IDENTIFIER_LENGTH
    ):
        raise Invalid("This usage can’t be billed.", "Nothing was recorded.")
    if ctx.is_test:
        return True
    usage_row = BillingUsage(
        tenant_id=ctx.tenant_id, meter=meter, at=at, quantity=quantity, identifier=identifier
    )
    return await repository.add(ctx, usage_row)


async def report() -> int:
    """Reports the usage of all tenants with a customer at the provider. Returns the number of accepted rows."""
    arrived = 0
    async with db.transaction() as session:
        customers = await prices_repository.list_all_customers(session)
    for account_id, customer_id, tenant_id in customers:
        try:
            arrived += await _report_customer(account_id, customer_id, tenant_id)
        except (ProviderDown, KeyRefused) as problem:
            log.get_logger(__name__).warning(
                "usage_not_reported", tenant_id=tenant_id, problem=type(problem).__name__
            )
        except Exception as problem:  # one failing customer must not block the others
            log.report_bug(problem, tenant_id=tenant_id, customer_id=customer_id)
    return arrived


async def _report_customer(account_id: str, customer_id: str, tenant_id: str) -> int:
    at = now()
    async with db.transaction(tenant_id=tenant_id) as session:
        if not await repository.is_current_customer(session, tenant_id, account_id, customer_id):
            return 0  # deleted at the provider: the rows wait for the next customer
        terms = await find_terms(session, tenant_id, customer_id, at)
        rows = await repository.lock_unreported(
            session,
            tenant_id,
            tried_after=at - IDENTIFIER_LIFETIME,
            live_meters=[meter for meter in terms if any(term.is_live for term in terms[meter])],
            limit=BATCH_SIZE,
        )
        if any(not usage_periods.is_sold(row.at, terms.get(row.meter, ())) for row in rows):
            for meter, former_terms in (await find_former_terms(session, tenant_id, at)).items():
                terms[meter] = [*terms.get(meter, ()), *former_terms]
        sendable_rows = await _prepare_rows(session, rows, terms, at)
        doubtful = await repository.mark_doubtful(session, tenant_id, at - IDENTIFIER_LIFETIME)
    if doubtful:
        log.get_logger(__name__).error("usage_doubtful", tenant_id=tenant_id, rows=doubtful)
    sent, refused = list[str](), list[str]()
    try:
        for row in sendable_rows:
            try:
                await (await provider_registry.get(account_id)).report_usage(
                    customer_id, row.meter, row.quantity - row.drawn, row.counted_at or row.at, row.id
                )
                sent.append(row.id)
            except ProviderRefused as refusal:
                refused.append(row.id)
                log.get_logger(__name__).error(
                    "usage_refused", tenant_id=tenant_id, usage=row.id, said=refusal.message
                )
    finally:
        if sent or refused:
            async with db.transaction(tenant_id=tenant_id) as session:
                await repository.mark_reported(session, tenant_id, sent, now())
                await repository.set_problem(session, tenant_id, refused, REFUSED)
    return len(sent)


async def find_terms(
    session: AsyncSession, tenant_id: str, customer_id: str, at: datetime
) -> dict[str, list[MeterTerm]]:
    """What charges for the tenant's usage at this time, by meter. `customer_id`: of its current customer."""
    subscriptions = await repository.list_subscriptions(session, tenant_id)
    return usage_periods.find_terms(
        [(row.customer_id, provider_records.to_subscription(row)) for row in subscriptions],
        await prices_repository.get_meters_by_price_id(session),
        customer_id,
        at,
    )


async def find_former_terms(
    session: AsyncSession, tenant_id: str, at: datetime
) -> dict[str, list[MeterTerm]]:
    """Of plans and add-ons that a subscription included until it was changed. Its items are not kept."""
    grants = await subscription_grants.list_ended_grants(session, tenant_id, at)
    prices = await prices_repository.list_version_prices(session, {grant.version_id for grant in grants})
    meters = {(price.plan_version_id, price.meter) for price in prices if price.meter}
    terms = dict[str, list[MeterTerm]]()
    for grant in grants:
        for version_id, meter in meters:
            if version_id == grant.version_id:
                term = usage_periods.build_former_term(grant.paid_from, grant.ended_at)
                terms.setdefault(meter, []).append(term)
    return terms


async def _prepare_rows(
    session: AsyncSession,
    rows: Sequence[BillingUsage],
    terms: Mapping[str, Sequence[MeterTerm]],
    at: datetime,
) -> list[BillingUsage]:
    """The rows that are sent now, after prepaid credits have paid for what they can.

    Credits pay for a row once, before it is sent for the first time. A retry sends the same quantity.
    """
    sendable_rows, new_terms = list[BillingUsage](), dict[str, MeterTerm]()
    for row in rows:
        is_new = row.tried_at is None
        placement = _place(row, terms.get(row.meter, ()), at)
        if placement.outcome != "send":
            continue
        sendable_rows.append(row)
        if is_new and placement.term is not None:
            new_terms[row.id] = placement.term
    await prepaid_usage.draw_rows(session, [(row, new_terms[row.id]) for row in rows if row.id in new_terms])
    for row in sendable_rows:
        if row.drawn == row.quantity:
            row.reported_at = at
    return [row for row in sendable_rows if row.reported_at is None]


def _place(row: BillingUsage, terms: Sequence[MeterTerm], at: datetime) -> Placement:
    """What happens to the row. Its time is decided again at each try: the draft may have become final meanwhile."""
    placement = usage_periods.place_usage(row.at, terms, at, row.counted_at)
    if placement.outcome == "free":
        row.reported_at = at
    if placement.outcome != "send":
        row.problem = ENDED if placement.outcome == "ended" else row.problem
        return placement
    row.problem = "" if row.problem == ENDED else row.problem
    row.tried_at = row.tried_at or at
    row.counted_at = placement.counted_at if placement.counted_at != row.at else None
    return placement
