"""Automatic top-ups: a balance of prepaid credits that falls below a threshold is filled up from the saved card.

A top-up is requested in the transaction that draws, at most one at a time, and charged by a job (`top_up_charges`). It fills
the balance to the threshold or more, so that each crossing buys once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import repository as billing_repository
from shared.billing.models import TopUp, TopUpSetting
from shared.billing.prepaid import balance, drawing
from shared.billing.prepaid import prepaid_repository as grants_repository
from shared.billing.prepaid import top_ups_repository as repository
from shared.billing.sync import provider_records
from shared.core import money, rate_limits
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid
from shared.core.rate_limits import RateLimit
from shared.jobs import queue
from shared.tenancy import tenants

TASK = "billing.top_up"
MIN_AMOUNT, MAX_AMOUNT = 5, 10_000  # whole units of the currency, of one top-up
METHOD_OBSTACLE = ("There is no payment method to charge.", "Add one on the billing page, then try again.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUpView:
    """`bought`: by automatic top-ups of this month, with one that is being charged (`is_charging`).

    `is_settling`: the bank has its payment and takes days to settle it. `is_disputed`: nothing is bought because a payment
    is disputed.
    """

    setting: TopUpSetting
    bought: int
    is_charging: bool
    is_settling: bool
    is_disputed: bool

    @property
    def is_at_maximum(self) -> bool:
        return self.bought + self.setting.amount > self.setting.monthly_maximum


async def get_view(ctx: Ctx) -> TopUpView | None:
    """None where automatic top-ups have never been on."""
    policy.require(ctx, actions.BILLING_READ)
    setting = await repository.get_setting(ctx)
    if setting is None:
        return None
    open_top_up = await repository.find_open_top_up(ctx.session, ctx.tenant_id)
    return TopUpView(
        setting=setting,
        bought=await repository.sum_since(ctx.session, ctx.tenant_id, get_month_start(now())),
        is_charging=open_top_up is not None,
        is_settling=open_top_up is not None and bool(open_top_up.invoice_id),
        is_disputed=await repository.has_collection_dispute(ctx.session, ctx.tenant_id),
    )


def find_obstacle(*, currency: str, has_method: bool) -> tuple[str, str] | None:
    """Why automatic top-ups can't be turned on, and the next step. `currency`: in which the tenant pays, "" for none."""
    return None if currency and has_method else METHOD_OBSTACLE


async def save_setting(ctx: Ctx, *, threshold: int, amount: int, monthly_maximum: int, currency: str) -> None:
    """Turns automatic top-ups on. Amounts are in the smallest unit of `currency`, in which the tenant pays.

    A balance that is below the threshold already is topped up at once. Raises Invalid, Conflict without a card, and where
    the tenant pays in another currency.
    """
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    if await _require_currency(ctx) != currency:
        raise Conflict("The currency of your payments has changed.", "Reload the page, then try again.")
    _check_amounts(threshold, amount, monthly_maximum, currency)
    setting = await repository.lock_setting(ctx.session, ctx.tenant_id)
    before = _describe(setting)
    setting = setting or TopUpSetting(
        tenant_id=ctx.tenant_id, is_on=True, threshold=0, amount=0, monthly_maximum=0, currency=currency
    )
    setting.is_on, setting.stop_reason, setting.changed_at = True, "", now()
    setting.threshold, setting.amount = threshold, amount
    setting.monthly_maximum, setting.currency = monthly_maximum, currency
    ctx.session.add(setting)
    audit_log.record(ctx, "billing.top_up_changed", setting.id, before=before, after=_describe(setting))
    await ctx.session.flush()
    await request_if_due(ctx.session, ctx.tenant_id)
    await balance.notify_pages(ctx)


async def turn_off(ctx: Ctx) -> None:
    """Ends automatic top-ups. One that is being charged at the moment is completed. Raises Conflict where it is off."""
    policy.require(ctx, actions.BILLING_CHANGE)
    setting = await repository.lock_setting(ctx.session, ctx.tenant_id)
    if setting is None or not setting.is_on:
        raise Conflict("Automatic top-ups are off already.", "Reload the page.")
    before = _describe(setting)
    setting.is_on, setting.changed_at = False, now()
    ctx.session.add(setting)
    audit_log.record(ctx, "billing.top_up_changed", setting.id, before=before, after=_describe(setting))
    await balance.notify_pages(ctx)


async def request_if_due(session: AsyncSession, tenant_id: str) -> None:
    """Requests a top-up where the balance is below the threshold. For transactions that draw or change the setting."""
    setting = await repository.lock_setting(session, tenant_id)
    if setting is None or not setting.is_on or setting.stop_reason:
        return
    if await repository.find_open_top_up(session, tenant_id) is not None:
        return
    at = now()
    grants = await grants_repository.list_usable_grants(session, tenant_id)
    if (
        sum(grant.remaining for grant in drawing.order_grants(grants, setting.currency, at))
        >= setting.threshold
    ):
        return
    bought = await repository.sum_since(session, tenant_id, get_month_start(at))
    if bought + setting.amount > setting.monthly_maximum:
        return
    if await repository.has_collection_dispute(session, tenant_id):
        return
    top_up = TopUp(tenant_id=tenant_id, amount=setting.amount, currency=setting.currency)
    session.add(top_up)
    await queue.put_tenant_job(session, tenant_id, TASK, top_up_id=top_up.id)


def get_month_start(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


async def _require_currency(ctx: Ctx) -> str:
    snapshot = await billing_repository.get_billing_snapshot(ctx)
    currency = snapshot.currency if snapshot else ""
    obstacle = find_obstacle(currency=currency, has_method=bool(await find_method_id(ctx)))
    if obstacle is not None:
        raise Conflict(*obstacle)
    return currency


async def find_method_id(ctx: Ctx) -> str:
    """The payment method of a live subscription; "" without one."""
    snapshot = await billing_repository.get_billing_snapshot(ctx)
    methods = provider_records.to_payment_methods(snapshot.payment_methods) if snapshot else {}
    return next((method.id for _, method in sorted(methods.items())), "")


def _check_amounts(threshold: int, amount: int, monthly_maximum: int, currency: str) -> None:
    unit = 10 ** money.require_currency(currency).digits
    if not MIN_AMOUNT * unit <= amount <= MAX_AMOUNT * unit:
        least, most = (money.format_amount(limit * unit, currency) for limit in (MIN_AMOUNT, MAX_AMOUNT))
        raise Invalid(
            "The amount is out of range.",
            f"Choose an amount from {least} to {most}.",
            fields={"amount": "Out of range"},
        )
    if not 0 < threshold <= amount:
        raise Invalid(
            "The threshold is out of range.",
            "Choose a threshold above zero that isn’t higher than the amount.",
            fields={"threshold": "Out of range"},
        )
    if not amount <= monthly_maximum <= 100 * MAX_AMOUNT * unit:
        raise Invalid(
            "The monthly maximum is out of range.",
            "Choose at least the amount of one top-up.",
            fields={"maximum": "Out of range"},
        )


def _describe(setting: TopUpSetting | None) -> dict[str, str]:
    """For the audit log."""
    if setting is None or not setting.is_on:
        return {"top-up": "off"}
    amount, threshold, maximum = (
        money.format_amount(value, setting.currency)
        for value in (setting.amount, setting.threshold, setting.monthly_maximum)
    )
    return {"top-up": f"{amount} below {threshold}, at most {maximum} a month"}
