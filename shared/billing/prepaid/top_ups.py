"""Automatic top-ups: a balance of prepaid credits that falls below a threshold is filled up from the saved card.

A top-up is requested in the transaction that draws, at most one at a time, and charged by a job. It fills the balance to the
threshold or more, so that each crossing buys once. A declined card ends it until the setting is saved again.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import customers, dunning, provider_registry
from shared.billing import repository as billing_repository
from shared.billing.dunning_messages import DunningMessage
from shared.billing.models import PLATFORM, PrepaidGrant, TopUp, TopUpSetting
from shared.billing.prepaid import balance, drawing
from shared.billing.prepaid import prepaid_repository as grants_repository
from shared.billing.prepaid import top_ups_repository as repository
from shared.billing.provider import ProviderRefused
from shared.billing.sync import provider_records
from shared.core import money, rate_limits
from shared.core.config import settings
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid
from shared.core.rate_limits import RateLimit
from shared.jobs import queue
from shared.tenancy import entry, tenants

TASK = "billing.top_up"
MIN_AMOUNT, MAX_AMOUNT = 5, 10_000  # whole units of the currency, of one top-up
DESCRIPTION = "Prepaid credits"
TURNED_OFF = "Turned off before it was charged"
TAX_OBSTACLE = ("Top-ups can't be charged with tax yet.", "Contact support to buy credits.")
METHOD_OBSTACLE = ("There is no payment method to charge.", "Add one on the billing page, then try again.")
DECLINED_TITLE = "Your credits couldn't be topped up"


@dataclass(frozen=True, slots=True)
class TopUpOrder:
    """A top-up as submitted to the provider."""

    customer_id: str
    method_id: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUpView:
    """`bought`: by automatic top-ups of this month, with one that is being charged (`is_charging`)."""

    setting: TopUpSetting
    bought: int
    is_charging: bool

    @property
    def is_at_maximum(self) -> bool:
        return self.bought + self.setting.amount > self.setting.monthly_maximum


async def get_view(ctx: Ctx) -> TopUpView | None:
    """None where automatic top-ups have never been on."""
    policy.require(ctx, actions.BILLING_READ)
    setting = await repository.get_setting(ctx)
    if setting is None:
        return None
    return TopUpView(
        setting=setting,
        bought=await repository.sum_since(ctx.session, ctx.tenant_id, get_month_start(now())),
        is_charging=await repository.has_open_top_up(ctx.session, ctx.tenant_id),
    )


def find_obstacle(*, currency: str, has_method: bool) -> tuple[str, str] | None:
    """Why automatic top-ups can't be turned on, and the next step. `currency`: in which the tenant pays, "" for none."""
    if settings().automatic_tax:  # a charge beside the subscriptions has no tax
        return TAX_OBSTACLE
    return None if currency and has_method else METHOD_OBSTACLE


async def save_setting(ctx: Ctx, *, threshold: int, amount: int, monthly_maximum: int, currency: str) -> None:
    """Turns automatic top-ups on. Amounts are in the smallest unit of `currency`, in which the tenant pays.

    A balance that is below the threshold already is topped up at once. Raises Invalid, Conflict without a card, where the
    platform charges tax, and where the tenant pays in another currency.
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
    if setting is None or not setting.is_on or setting.stop_reason or settings().automatic_tax:
        return
    if await repository.has_open_top_up(session, tenant_id):
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
    top_up = TopUp(tenant_id=tenant_id, amount=setting.amount, currency=setting.currency)
    session.add(top_up)
    await queue.put_tenant_job(session, tenant_id, TASK, top_up_id=top_up.id)


async def execute_top_up(tenant_id: str, top_up_id: str, request_id: str) -> None:
    """Charges a top-up, outside of any transaction, and grants what was paid. Idempotent. Raises ProviderDown."""
    async with entry.enter_job(tenant_id, TASK, request_id) as ctx:
        order = await _prepare_order(ctx, top_up_id)
    if order is None:
        return
    try:
        provider = await provider_registry.get(PLATFORM)
        invoice_id, error = (
            await provider.charge_once(
                order.customer_id,
                order.amount,
                order.currency,
                DESCRIPTION,
                method_id=order.method_id,
                key=top_up_id,
            ),
            "",
        )
    except ProviderRefused as refusal:
        invoice_id = ""
        error = refusal.message if refusal.kind == "card" else "The payment provider refused the charge."
    async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
        await _finish(ctx, top_up_id, invoice_id=invoice_id, error=error)


def get_month_start(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


async def _prepare_order(ctx: Ctx, top_up_id: str) -> TopUpOrder | None:
    """None where it was done, or can't be charged and was marked as failed.

    A charge that was tried is submitted again as it was. Its answer may be lost, and then only the provider knows it.
    """
    top_up = await repository.lock_top_up(ctx, top_up_id)
    if top_up is None or top_up.state != repository.REQUESTED:
        return None
    if top_up.tried_at is not None:
        return TopUpOrder(top_up.customer_id, top_up.method_id, top_up.amount, top_up.currency)
    setting = await repository.get_setting(ctx)
    if setting is None or not setting.is_on:
        await _fail(ctx, top_up, TURNED_OFF)
        return None
    customer_id, method_id = await customers.find_id(ctx), await _find_method_id(ctx)
    if not method_id or not customer_id:
        await _fail(ctx, top_up, "There is no payment method.")
        await _stop(ctx, top_up, "there is no payment method")
        return None
    top_up.tried_at, top_up.customer_id, top_up.method_id = now(), customer_id, method_id
    ctx.session.add(top_up)
    return TopUpOrder(customer_id, method_id, top_up.amount, top_up.currency)


async def _finish(ctx: Ctx, top_up_id: str, *, invoice_id: str, error: str) -> None:
    top_up = await repository.lock_top_up(ctx, top_up_id)
    if top_up is None or top_up.state != repository.REQUESTED:
        return
    if error:
        await _fail(ctx, top_up, error)
        await _stop(ctx, top_up, error.rstrip("."))
        return
    top_up.state, top_up.invoice_id, top_up.done_at = repository.PAID, invoice_id, now()
    ctx.session.add(top_up)
    grant = PrepaidGrant(
        tenant_id=ctx.tenant_id,
        source=balance.TOP_UP,
        amount=top_up.amount,
        remaining=top_up.amount,
        currency=top_up.currency,
        priority=balance.DEFAULT_PRIORITY,
        invoice_id=invoice_id,
    )
    await balance.add_grant(ctx, grant)
    after = {"credits": money.format_amount(top_up.amount, top_up.currency)}
    audit_log.record(ctx, "billing.topped_up", grant.id, after=after, invoice=invoice_id)


async def _fail(ctx: Ctx, top_up: TopUp, error: str) -> None:
    top_up.state, top_up.error, top_up.done_at = repository.FAILED, error[:500], now()
    ctx.session.add(top_up)
    await balance.notify_pages(ctx)


async def _stop(ctx: Ctx, top_up: TopUp, reason: str) -> None:
    """No further top-up until the setting is saved again; everyone who may do that is told."""
    setting = await repository.lock_setting(ctx.session, ctx.tenant_id)
    if setting is not None:
        setting.stop_reason = reason[:300]
        ctx.session.add(setting)
    amount_text = money.format_amount(top_up.amount, top_up.currency)
    body = (
        f"{amount_text} for prepaid credits wasn't charged: {reason}. Automatic top-ups have stopped, and usage is billed. "
        "Update your payment method, then turn them on again on the billing page."
    )
    await dunning.send_message(ctx, DunningMessage("top_up_failed", top_up.id, DECLINED_TITLE, body))


async def _require_currency(ctx: Ctx) -> str:
    snapshot = await billing_repository.get_billing_snapshot(ctx)
    currency = snapshot.currency if snapshot else ""
    obstacle = find_obstacle(currency=currency, has_method=bool(await _find_method_id(ctx)))
    if obstacle is not None:
        raise Conflict(*obstacle)
    return currency


async def _find_method_id(ctx: Ctx) -> str:
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
            "Choose a threshold above zero that isn't higher than the amount.",
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
