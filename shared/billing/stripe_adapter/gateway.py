"""The implementation of `provider.Provider` with Stripe's API. It keeps the subscriptions itself; checkouts, refunds,
previews, customers, prices, mapping and errors are in the modules beside.

Every write has an idempotency key of the caller, so that a retry after a crash has no second effect.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

import stripe

from shared.billing.provider import Provider, ProviderRefused
from shared.billing.provider_values import (
    NO_REASON,
    BillingDetails,
    CanceledAddon,
    Cancellation,
    ChangePreview,
    Checkout,
    CheckoutOrder,
    CustomerState,
    OpenCheckouts,
    OrderLine,
    PendingChange,
    PriceTag,
    RemotePrice,
    SingleCharge,
    TaxSetup,
    TransferOrder,
)
from shared.billing.stripe_adapter import (
    charges,
    checkouts,
    collection_pauses,
    customer_mapping,
    customers,
    pauses,
    portal_settings,
    previews,
    prices,
    refunds,
    schedules,
    single_charges,
    stripe_values,
    subscription_items,
    subscription_mapping,
    transfers,
)
from shared.billing.stripe_adapter.errors import (
    is_duplicate_usage,
    translate_errors_unquoted,
    translate_stripe_errors,
)
from shared.billing.stripe_adapter.idempotency import find_nothing, send_once
from shared.billing.stripe_adapter.lists import PAGE_SIZE, is_truncated
from shared.billing.stripe_adapter.metadata_keys import CHANGE_KEY, TAX_KEY
from shared.billing.stripe_adapter.rate_limit import RateLimiter
from shared.billing.stripe_adapter.transport import StripeTransport

NO_ANSWERS: stripe.params.SubscriptionUpdateParamsCancellationDetails = {"feedback": "", "comment": ""}
TEST_KEY_PREFIXES = ("sk_test_", "rk_test_")


def _get_time() -> datetime:
    return datetime.now(UTC)


class StripeGateway:
    """One Stripe account, or a stand-in at the address `base`, which replaces all four addresses of the SDK."""

    def __init__(
        self,
        key: str,
        base: str | None = None,
        *,
        automatic_tax: bool = False,
        get_time: Callable[[], datetime] = _get_time,
    ) -> None:
        """`automatic_tax`: Stripe calculates the tax of new subscriptions, and of others from their next change on."""
        if base is not None and not key.startswith(TEST_KEY_PREFIXES):
            raise ValueError("a live key must not be sent to a stand-in")
        self._transport = StripeTransport(RateLimiter(_hash_key(key)))
        self._client = stripe.StripeClient(
            key,
            base_addresses={"api": base, "connect": base, "files": base, "meter_events": base}
            if base
            else None,
            http_client=self._transport,
            max_network_retries=2,
        )
        self._v1 = self._client.v1
        self._automatic_tax = automatic_tax
        self._get_time = get_time
        self._portal_settings_id = ""  # once they were saved or found

    async def close(self) -> None:
        await self._transport.close_async()

    @translate_stripe_errors
    async def get_account_id(self) -> str:
        return (await self._v1.accounts.retrieve_current_async()).id

    @translate_stripe_errors
    async def get_tax_setup(self) -> TaxSetup:
        setup = await self._v1.tax.settings.retrieve_async()
        is_ready = setup.status == "active"
        return TaxSetup(is_ready=is_ready, has_default=is_ready and setup.defaults.tax_behavior is not None)

    @translate_errors_unquoted
    async def create_customer(self, tenant_id: str, name: str, email: str, key: str) -> str:
        return await customers.create_customer(self._v1, tenant_id, name, email, key)

    @translate_stripe_errors
    async def fetch_customer(self, customer_id: str) -> CustomerState:
        customer = await customers.fetch_customer(self._v1, customer_id)
        try:
            subscriptions = await self._list_subscriptions(customer_id)
            invoices = await self._list_invoices(customer_id)
        except stripe.InvalidRequestError:
            if not customer.get("deleted"):  # lists don't contain deleted customers
                raise
            subscriptions, invoices = [], []
        upcoming = await previews.fetch_upcoming_charges(self._v1, customer, subscriptions)
        results = await charges.fetch_payment_results(self._v1, customer_id, invoices)
        return customer_mapping.to_customer_state(
            customer,
            subscriptions,
            invoices,
            upcoming,
            refunds=results.refunds,
            disputes=results.disputes,
            fraud_warnings=results.fraud_warnings,
        )

    @translate_stripe_errors
    async def fetch_billing_details(self, customer_id: str) -> BillingDetails:
        return await customers.fetch_billing_details(self._v1, customer_id)

    @translate_errors_unquoted
    async def update_billing_details(
        self, customer_id: str, details: BillingDetails, *, removed_tax_ids: Sequence[str] = ()
    ) -> None:
        await customers.update_billing_details(
            self._v1, customer_id, details, removed_tax_ids=removed_tax_ids
        )

    @translate_stripe_errors
    async def get_tenant_id(self, customer_id: str) -> str:
        return await customers.get_tenant_id(self._v1, customer_id)

    @translate_stripe_errors
    async def find_customer_id(self, object_id: str) -> str:
        return await customers.find_customer_id(self._client, object_id)

    @translate_stripe_errors
    async def create_checkout(self, order: CheckoutOrder) -> Checkout:
        return await checkouts.create_checkout(
            self._v1, order, self._get_time(), automatic_tax=self._automatic_tax
        )

    @translate_stripe_errors
    async def close_checkouts(self, customer_id: str, *, keep: str = "") -> OpenCheckouts:
        return await checkouts.close_checkouts(self._v1, customer_id, keep=keep, now=self._get_time())

    @translate_stripe_errors
    async def create_portal(self, customer_id: str, return_url: str) -> str:
        if not self._portal_settings_id:
            self._portal_settings_id = (await portal_settings.save(self._v1)).id
        try:
            return await self._create_portal_session(customer_id, return_url)
        except stripe.InvalidRequestError as problem:
            if problem.param != "configuration":
                raise
        # The settings were deactivated in the dashboard.
        self._portal_settings_id = (await portal_settings.save(self._v1)).id
        return await self._create_portal_session(customer_id, return_url)

    async def _create_portal_session(self, customer_id: str, return_url: str) -> str:
        session = await self._v1.billing_portal.sessions.create_async(
            {
                "customer": customer_id,
                "return_url": return_url,
                "configuration": self._portal_settings_id,
            }
        )
        return session.url

    @translate_stripe_errors
    async def save_portal_settings(self) -> bool:
        saved_settings = await portal_settings.save(self._v1)
        self._portal_settings_id = saved_settings.id
        return saved_settings.is_changed

    @translate_stripe_errors
    async def has_portal_settings(self) -> bool:
        own_settings = await portal_settings.find(self._v1)
        return own_settings is not None and own_settings[1]

    @translate_stripe_errors
    async def preview_change(
        self,
        customer_id: str,
        subscription_id: str,
        lines: Sequence[OrderLine],
        as_of: datetime | None = None,
        *,
        bill_now: bool = False,
    ) -> ChangePreview:
        return await previews.preview_change(
            self._v1,
            customer_id,
            subscription_id,
            lines,
            as_of,
            bill_now=bill_now,
            automatic_tax=self._automatic_tax,
        )

    @translate_stripe_errors
    async def change_subscription(
        self,
        subscription_id: str,
        lines: Sequence[OrderLine],
        *,
        as_of: datetime | None,
        prorate: bool,
        bill_now: bool = False,
        canceled_addons: Sequence[CanceledAddon] = (),
        key: str,
    ) -> PendingChange | None:
        """The update depends on the current items, but requests with one idempotency key must be equal, so the
        request is stored by key.
        """
        subscription = await self._v1.subscriptions.retrieve_async(subscription_id)
        raw = subscription.to_dict()
        metadata = raw.get("metadata") or {}
        if _get_change_key(raw) == key:
            return None
        if _get_pending_key(raw) == key:
            return subscription_mapping.to_pending_change(raw)
        _require_unended(subscription)
        await schedules.release(self._v1, raw, key)
        if prorate and self._automatic_tax and not subscription.automatic_tax.enabled:
            # As its preview had it, and in a request of its own: a pending update can't contain it. The mark is removed by
            # the change itself, and `undo_unpaid_tax` turns the tax off where that is never paid.
            # https://docs.stripe.com/billing/subscriptions/pending-updates-reference
            await self._update_subscription(
                subscription_id,
                {
                    "automatic_tax": {"enabled": True},
                    "metadata": {TAX_KEY: f"{int(self._get_time().timestamp())}:{key}"},
                },
                f"{key}-tax",
                lambda changed: changed.automatic_tax.enabled,
            )
        params: stripe.params.SubscriptionUpdateParams = {
            "items": subscription_items.build_item_updates(
                await subscription_items.list_items(self._v1, subscription_id), lines
            ),
            "metadata": subscription_mapping.to_canceled_addon_metadata(canceled_addons, metadata)
            | {CHANGE_KEY: key, TAX_KEY: ""},
            "proration_behavior": previews.get_proration_behavior(prorate=prorate, bill_now=bill_now),
        }
        if prorate and as_of is not None:
            params["proration_date"] = int(as_of.timestamp())
        if prorate and raw.get("collection_method") != stripe_values.SEND_INVOICE:
            # Access after the money. Metadata is kept with the update since 2026-05-27.
            # https://docs.stripe.com/billing/subscriptions/pending-updates
            params["payment_behavior"] = "pending_if_incomplete"
        changed = await self._update_subscription(
            subscription_id,
            params,
            key,
            lambda changed: key in (_get_change_key(changed.to_dict()), _get_pending_key(changed.to_dict())),
        )
        return subscription_mapping.to_pending_change(changed.to_dict())

    @translate_stripe_errors
    async def schedule_change(self, subscription_id: str, lines: Sequence[OrderLine], key: str) -> None:
        subscription = await self._v1.subscriptions.retrieve_async(subscription_id)
        _require_unended(subscription)
        raw = subscription.to_dict()
        is_ending = raw.get("cancel_at") or raw.get("cancel_at_period_end")
        if raw["status"] != "active" or is_ending or raw.get("pending_update"):
            # A schedule would undo a cancellation that our records don't show yet.
            raise ProviderRefused(
                "The subscription ends, is paused or waits for a payment.", "not_schedulable"
            )
        await schedules.schedule_change(self._v1, raw, lines, key)

    @translate_stripe_errors
    async def drop_scheduled_change(self, subscription_id: str, key: str) -> None:
        subscription = await self._v1.subscriptions.retrieve_async(subscription_id)
        await schedules.release(self._v1, subscription.to_dict(), key)

    @translate_errors_unquoted
    async def cancel_subscription(
        self, subscription_id: str, *, at_period_end: bool, reason: Cancellation = NO_REASON, key: str
    ) -> None:
        answers = subscription_mapping.to_cancellation_answers(reason)
        subscription = await self._v1.subscriptions.retrieve_async(subscription_id)
        await schedules.release(self._v1, subscription.to_dict(), key)
        if at_period_end:
            await self._update_subscription(
                subscription_id,
                {"cancel_at_period_end": True, "cancellation_details": answers}
                if answers
                else {"cancel_at_period_end": True},
                key,
                lambda changed: changed.cancel_at_period_end,
            )
            return
        params: stripe.params.SubscriptionCancelParams = {"cancellation_details": answers} if answers else {}
        if await pauses.has_credit(self._v1, subscription):
            params["invoice_now"] = True  # or Stripe deletes the credit
        try:
            await send_once(
                key,
                lambda options: self._v1.subscriptions.cancel_async(subscription_id, params, options),
                lambda: self._find_subscription(subscription_id, lambda ended: ended.ended_at is not None),
            )
        except stripe.InvalidRequestError:
            subscription = await self._v1.subscriptions.retrieve_async(subscription_id)
            if subscription.ended_at is None:  # otherwise it has already ended
                raise

    @translate_stripe_errors
    async def resume_subscription(self, subscription_id: str, key: str) -> None:
        subscription = await self._v1.subscriptions.retrieve_async(subscription_id)
        _require_unended(subscription)
        if subscription.status == "paused":
            # Stripe's default creates an invoice without collecting it, and pauses again a day later.
            params: stripe.params.SubscriptionResumeParams = {"payment_behavior": "resume_on_payment_success"}
            await send_once(
                key,
                lambda options: self._v1.subscriptions.resume_async(subscription_id, params, options),
                lambda: self._find_subscription(subscription_id, lambda resumed: resumed.status != "paused"),
            )
        elif subscription.cancel_at_period_end:
            await self._update_subscription(
                subscription_id,
                {"cancel_at_period_end": False, "cancellation_details": NO_ANSWERS},
                key,
                lambda changed: not changed.cancel_at_period_end,
            )
        elif subscription.cancel_at is not None:
            await self._update_subscription(
                subscription_id,
                {"cancel_at": "", "cancellation_details": NO_ANSWERS},
                key,
                lambda changed: changed.cancel_at is None,
            )

    @translate_stripe_errors
    async def pause_subscription(self, subscription_id: str, key: str) -> None:
        subscription = await self._v1.subscriptions.retrieve_async(subscription_id)
        _require_unended(subscription)
        await schedules.release(self._v1, subscription.to_dict(), key)
        await pauses.pause_subscription(self._v1, subscription_id, key)

    @translate_stripe_errors
    async def pause_collection(self, subscription_id: str, dispute_id: str, key: str) -> None:
        await collection_pauses.pause_collection(self._v1, subscription_id, dispute_id, key)

    @translate_stripe_errors
    async def resume_collection(self, subscription_id: str, key: str) -> None:
        await collection_pauses.resume_collection(self._v1, subscription_id, key)

    @translate_stripe_errors
    async def preview_pause(self, customer_id: str, subscription_id: str) -> ChangePreview:
        return await pauses.preview_pause(self._v1, customer_id, subscription_id)

    @translate_stripe_errors
    async def preview_resume(self, customer_id: str, subscription_id: str) -> ChangePreview:
        return await pauses.preview_resume(self._v1, customer_id, subscription_id)

    @translate_stripe_errors
    async def undo_unpaid_tax(self, subscription_id: str, before: datetime, key: str) -> None:
        raw = (await self._v1.subscriptions.retrieve_async(subscription_id)).to_dict()
        turned_on_at = subscription_mapping.get_unpaid_tax_time(raw)
        if turned_on_at is None or turned_on_at > before or raw.get("ended_at") is not None:
            return
        await self._update_subscription(
            subscription_id,
            {"automatic_tax": {"enabled": False}, "metadata": {TAX_KEY: ""}},
            key,
            lambda changed: not changed.automatic_tax.enabled,
        )

    @translate_stripe_errors
    async def end_trial(self, subscription_id: str, key: str) -> None:
        """https://docs.stripe.com/billing/subscriptions/trials/manage-trial-compliance, `trial_end=now`."""
        subscription = await self._v1.subscriptions.retrieve_async(subscription_id)
        _require_unended(subscription)
        if subscription.status != "trialing":
            return
        await self._update_subscription(
            subscription_id,
            {"trial_end": "now", "payment_behavior": "error_if_incomplete"},
            key,
            lambda changed: changed.status != "trialing",
        )

    @translate_stripe_errors
    async def extend_trial(self, subscription_id: str, until: datetime, key: str) -> None:
        """https://docs.stripe.com/billing/subscriptions/trials: a later `trial_end`, without proration."""
        subscription = await self._v1.subscriptions.retrieve_async(subscription_id)
        _require_unended(subscription)
        if subscription.status != "trialing":
            raise ProviderRefused("The trial has ended.", "no_trial", kind="subscription")
        trial_end = int(until.timestamp())
        if (subscription.trial_end or 0) >= trial_end:
            return
        await self._update_subscription(
            subscription_id,
            {"trial_end": trial_end, "proration_behavior": "none"},
            key,
            lambda changed: (changed.trial_end or 0) >= trial_end,
        )

    @translate_stripe_errors
    async def start_transfer_subscription(self, order: TransferOrder) -> str:
        return await transfers.start_subscription(self._v1, order, automatic_tax=self._automatic_tax)

    @translate_stripe_errors
    async def mark_paid(self, invoice_id: str, key: str) -> None:
        await transfers.mark_paid(self._v1, invoice_id, key)

    @translate_stripe_errors
    async def void_invoice(self, invoice_id: str, key: str) -> None:
        async def find_voided() -> stripe.Invoice | None:
            invoice = await self._v1.invoices.retrieve_async(invoice_id)
            return invoice if invoice.status == "void" else None

        try:
            await send_once(
                key,
                lambda options: self._v1.invoices.void_invoice_async(invoice_id, {}, options),
                find_voided,
            )
        except stripe.InvalidRequestError:
            if await find_voided() is None:
                raise

    @translate_stripe_errors
    async def push_price(self, tag: PriceTag) -> str:
        return await prices.push_price(self._client, tag)

    @translate_stripe_errors
    async def read_price(self, tag: PriceTag) -> RemotePrice:
        return await prices.read_price(self._client, tag)

    @translate_stripe_errors
    async def add_credit(
        self, customer_id: str, amount: int, currency: str, description: str, key: str
    ) -> str:
        return await refunds.add_credit(self._v1, customer_id, amount, currency, description, key)

    @translate_stripe_errors
    async def refund_invoice(self, invoice_id: str, amount: int, key: str) -> str:
        return await refunds.refund_invoice(self._v1, invoice_id, amount, key)

    @translate_stripe_errors
    async def charge_once(
        self, customer_id: str, amount: int, currency: str, description: str, *, method_id: str, key: str
    ) -> SingleCharge:
        return await single_charges.charge_once(
            self._v1,
            customer_id,
            amount=amount,
            currency=currency,
            description=description,
            method_id=method_id,
            automatic_tax=self._automatic_tax,
            key=key,
        )

    @translate_stripe_errors
    async def close_charge(self, customer_id: str, key: str) -> SingleCharge | None:
        return await single_charges.close_charge(self._v1, customer_id, key)

    @translate_stripe_errors
    async def report_usage(
        self, customer_id: str, meter: str, quantity: int, at: datetime, identifier: str
    ) -> None:
        params: stripe.params.billing.MeterEventCreateParams = {
            "event_name": meter,
            "identifier": identifier,
            "payload": {"stripe_customer_id": customer_id, "value": str(quantity)},
            "timestamp": int(at.timestamp()),
        }
        try:
            await send_once(
                f"usage:{identifier}:{params['timestamp']}",  # late usage is tried under another time
                lambda options: self._v1.billing.meter_events.create_async(params, options),
                find_nothing,  # Stripe counts an identifier once
            )
        except stripe.InvalidRequestError as problem:
            if not is_duplicate_usage(problem):
                raise

    async def _update_subscription(
        self,
        subscription_id: str,
        params: stripe.params.SubscriptionUpdateParams,
        key: str,
        has_effect: Callable[[stripe.Subscription], bool],
    ) -> stripe.Subscription:
        return await send_once(
            key,
            lambda options: self._v1.subscriptions.update_async(subscription_id, params, options),
            lambda: self._find_subscription(subscription_id, has_effect),
        )

    async def _find_subscription(
        self, subscription_id: str, has_effect: Callable[[stripe.Subscription], bool]
    ) -> stripe.Subscription | None:
        """The subscription where it shows the effect of a request."""
        subscription = await self._v1.subscriptions.retrieve_async(subscription_id)
        return subscription if has_effect(subscription) else None

    async def _list_subscriptions(self, customer_id: str) -> list[dict[str, Any]]:
        page = await self._v1.subscriptions.list_async(
            {
                "customer": customer_id,
                "status": "all",
                "limit": PAGE_SIZE,
                "expand": ["data.default_payment_method"],
            }
        )
        subscriptions = [subscription.to_dict() async for subscription in page.auto_paging_iter()]
        for subscription in subscriptions:
            if is_truncated(subscription.get("items")):
                subscription["items"] = await subscription_items.list_items(self._v1, subscription["id"])
            subscription["schedule"] = await schedules.fetch_schedule(self._v1, subscription)
        return subscriptions

    async def _list_invoices(self, customer_id: str) -> list[dict[str, Any]]:
        """The newest invoices, and older ones that are still open."""
        newest = await self._v1.invoices.list_async(
            {"customer": customer_id, "limit": PAGE_SIZE, "expand": ["data.payments"]}
        )
        invoices = {invoice.id: invoice.to_dict() for invoice in newest.data}
        if newest.has_more:
            unpaid = await self._v1.invoices.list_async(
                {"customer": customer_id, "status": "open", "limit": PAGE_SIZE}
            )
            invoices |= {invoice.id: invoice.to_dict() async for invoice in unpaid.auto_paging_iter()}
        for invoice in invoices.values():
            if is_truncated(invoice.get("lines")):
                lines = await self._v1.invoices.line_items.list_async(invoice["id"], {"limit": PAGE_SIZE})
                invoice["lines"] = [each.to_dict() async for each in lines.auto_paging_iter()]
        return list(invoices.values())


def _get_change_key(subscription: Mapping[str, Any]) -> str:
    """The key of the last change that took effect."""
    return str((subscription.get("metadata") or {}).get(CHANGE_KEY) or "")


def _get_pending_key(subscription: Mapping[str, Any]) -> str:
    """The key of the change that waits for its payment."""
    return _get_change_key(subscription.get("pending_update") or {})


def _require_unended(subscription: stripe.Subscription) -> None:
    """Stripe refuses changes of ended subscriptions without an error code."""
    if subscription.to_dict().get("ended_at") is not None:
        raise ProviderRefused(f"{subscription.id} has ended.", "subscription_ended", kind="subscription")


def _hash_key(key: str) -> str:
    """A hash that can be stored without revealing the key."""
    return hashlib.sha256(key.encode()).hexdigest()[:24]


_GATEWAYS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str | None], StripeGateway]] = (
    WeakKeyDictionary()  # connections belong to the loop that opened them
)


def get_gateway(key: str, base: str | None = None, *, automatic_tax: bool = False) -> Provider:
    """The gateway of this API key, made once per event loop: all callers share its rate limit and circuit breaker.

    `base`: address of the API; None for Stripe's own.
    """
    gateways = _GATEWAYS.setdefault(asyncio.get_running_loop(), {})
    if (key, base) not in gateways:
        gateways[key, base] = StripeGateway(key, base, automatic_tax=automatic_tax)
    return gateways[key, base]


async def close_gateways() -> None:
    """Closes all connections of this event loop; later requests open new ones."""
    for gateway in _GATEWAYS.pop(asyncio.get_running_loop(), {}).values():
        await gateway.close()
