"""Stripe behind `provider.Provider`: our verbs as its calls. Its shapes, errors and pace are in the files beside.

Every write carries an idempotency key of the caller's, so that a try after a crash is the same try.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

import stripe

from shared.billing import stripe_items, stripe_prices, stripe_shapes
from shared.billing.provider import (
    CheckoutOrder,
    CustomerState,
    Kept,
    OrderLine,
    Preview,
    PriceTag,
    PriceThere,
    Provider,
    ProviderRefused,
)
from shared.billing.stripe_pace import Circuit, Pace
from shared.billing.stripe_refusals import answered, is_counted_already, is_missing
from shared.billing.stripe_wire import Wire

PAGE = 100  # the most that Stripe gives at once; also how many invoices are kept
TENANT = "tenant_id"  # in a customer's metadata
CHANGE = "bulkhead_change"  # in a subscription's: the key of the last change
ADJUSTMENT = (
    "bulkhead_adjustment"  # in an entry of the balance's and a credit note's: the key it was asked for with
)
TEST_KEYS = ("sk_test_", "rk_test_")


class StripeGateway:
    """One account of Stripe's, or of a stand-in at `base`: all four of the SDK's addresses move together."""

    def __init__(self, key: str, base: str | None = None) -> None:
        if base is not None and not key.startswith(TEST_KEYS):
            raise ValueError("a live key must not be shown to a stand-in")
        self._wire = Wire(Pace(_name_of(key)), Circuit())
        self._client = stripe.StripeClient(
            key,
            base_addresses={"api": base, "connect": base, "files": base, "meter_events": base}
            if base
            else None,
            http_client=self._wire,
            max_network_retries=2,
        )
        self._v1 = self._client.v1

    async def close(self) -> None:
        await self._wire.close_async()

    @answered
    async def whoami(self) -> str:
        return (await self._v1.accounts.retrieve_current_async()).id

    @answered
    async def create_customer(self, tenant_id: str, name: str, email: str, key: str) -> str:
        """A key is remembered for a day or so. Later it is found by its mail: lists, unlike Search, are never late."""
        known = await self._v1.customers.list_async({"email": email, "limit": PAGE})
        async for one in known.auto_paging_iter():
            if (one.to_dict().get("metadata") or {}).get(TENANT) == tenant_id:
                return one.id
        # Name and mail may differ between two tries; under one key nothing may.
        made = await self._v1.customers.create_async(
            {"metadata": {TENANT: tenant_id}}, {"idempotency_key": key}
        )
        await self._v1.customers.update_async(made.id, {"name": name, "email": email})
        return made.id

    @answered
    async def fetch(self, customer_id: str) -> CustomerState:
        customer = await self._customer(customer_id)
        try:
            subscriptions = await self._subscriptions(customer_id)
            invoices = await self._invoices(customer_id)
        except stripe.InvalidRequestError:
            if not customer.get("deleted"):  # of whom lists may know nothing any more
                raise
            subscriptions, invoices = [], []
        return stripe_shapes.customer_state(customer, subscriptions, invoices)

    @answered
    async def checkout(self, order: CheckoutOrder) -> str:
        about = dict(order.about)
        params: stripe.params.checkout.SessionCreateParams = {
            "mode": "subscription",
            "customer": order.customer_id,
            "client_reference_id": about.get(TENANT, order.customer_id),
            "line_items": [
                {"price": line.external_price_id}
                if line.quantity is None
                else {"price": line.external_price_id, "quantity": line.quantity}
                for line in order.lines
            ],
            "metadata": about,
            "subscription_data": {"metadata": about},
            "success_url": order.return_url,
            "cancel_url": order.leave_url,
        }
        if order.trial_days:
            params["payment_method_collection"] = "if_required"
            params["subscription_data"] |= {
                "trial_period_days": order.trial_days,
                "trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}},
            }
        session = await self._v1.checkout.sessions.create_async(params, {"idempotency_key": order.key})
        if not session.url:
            raise ProviderRefused("This order was paid or given up. Start again.", "session_over")
        return session.url

    @answered
    async def portal(self, customer_id: str, return_url: str) -> str:
        session = await self._v1.billing_portal.sessions.create_async(
            {"customer": customer_id, "return_url": return_url}
        )
        return session.url

    @answered
    async def preview(
        self,
        customer_id: str,
        subscription_id: str,
        lines: Sequence[OrderLine],
        as_of: datetime | None = None,
    ) -> Preview:
        items = await self._items(subscription_id)
        details: stripe.params.InvoiceCreatePreviewParamsSubscriptionDetails = {
            "items": stripe_items.difference(items, lines),
            "proration_behavior": "create_prorations",
        }
        if as_of is not None:
            details["proration_date"] = int(as_of.timestamp())
        shown = await self._v1.invoices.create_preview_async(
            {"customer": customer_id, "subscription": subscription_id, "subscription_details": details}
        )
        return stripe_shapes.preview(shown.to_dict(), items, datetime.now(UTC))

    @answered
    async def change(
        self,
        subscription_id: str,
        lines: Sequence[OrderLine],
        *,
        as_of: datetime | None,
        prorate: bool,
        kept: Sequence[Kept] = (),
        key: str,
    ) -> None:
        """The difference depends on what is there, and under one idempotency key nothing may differ: the key is kept."""
        there = await self._v1.subscriptions.retrieve_async(subscription_id)
        metadata = there.to_dict().get("metadata") or {}
        if metadata.get(CHANGE) == key:
            return
        params: stripe.params.SubscriptionUpdateParams = {
            "items": stripe_items.difference(await self._items(subscription_id), lines),
            "metadata": stripe_shapes.kept_metadata(kept, metadata) | {CHANGE: key},
            "proration_behavior": "create_prorations" if prorate else "none",
        }
        if prorate and as_of is not None:
            params["proration_date"] = int(as_of.timestamp())
        await self._v1.subscriptions.update_async(subscription_id, params, {"idempotency_key": key})

    @answered
    async def cancel(self, subscription_id: str, *, at_period_end: bool, key: str) -> None:
        if at_period_end:
            await self._v1.subscriptions.update_async(
                subscription_id, {"cancel_at_period_end": True}, {"idempotency_key": key}
            )
            return
        try:
            await self._v1.subscriptions.cancel_async(subscription_id, {}, {"idempotency_key": key})
        except stripe.InvalidRequestError:
            there = await self._v1.subscriptions.retrieve_async(subscription_id)
            if there.ended_at is None:  # else it had ended already
                raise

    @answered
    async def resume(self, subscription_id: str, key: str) -> None:
        there = await self._v1.subscriptions.retrieve_async(subscription_id)
        options: stripe.RequestOptions = {"idempotency_key": key}
        if there.status == "paused":
            # Their default makes a bill that nobody tries to collect, and a day later it stays paused.
            await self._v1.subscriptions.resume_async(
                subscription_id, {"payment_behavior": "resume_on_payment_success"}, options
            )
        elif there.cancel_at_period_end:
            await self._v1.subscriptions.update_async(
                subscription_id, {"cancel_at_period_end": False}, options
            )
        elif there.cancel_at is not None:
            await self._v1.subscriptions.update_async(subscription_id, {"cancel_at": ""}, options)

    @answered
    async def push_price(self, tag: PriceTag) -> str:
        return await stripe_prices.push(self._client, tag)

    @answered
    async def read_price(self, tag: PriceTag) -> PriceThere:
        return await stripe_prices.read(self._client, tag)

    @answered
    async def credit(self, customer_id: str, amount: int, currency: str, said: str, key: str) -> str:
        """A key is remembered for a day or so, and who asks may come back later: it stands beside the money, too."""
        entries = self._v1.customers.balance_transactions
        if found := await _asked_with(key, await entries.list_async(customer_id, {"limit": PAGE})):
            return found
        entry = await entries.create_async(
            customer_id,
            {
                "amount": -amount,  # theirs is what is owed
                "currency": currency,
                "description": said,
                "metadata": {ADJUSTMENT: key},
            },
            {"idempotency_key": key},
        )
        return entry.id

    @answered
    async def refund(self, invoice_id: str, amount: int, key: str) -> str:
        """By a credit note, so that the invoice and the books show it too. Found again as a credit is."""
        notes = self._v1.credit_notes
        if found := await _asked_with(key, await notes.list_async({"invoice": invoice_id, "limit": PAGE})):
            return found
        note = await notes.create_async(
            {
                "invoice": invoice_id,
                "amount": amount,
                "refund_amount": amount,
                "metadata": {ADJUSTMENT: key},
            },
            {"idempotency_key": key},
        )
        return note.id

    @answered
    async def report_usage(
        self, customer_id: str, meter: str, quantity: int, at: datetime, identifier: str
    ) -> None:
        try:
            await self._v1.billing.meter_events.create_async(
                {
                    "event_name": meter,
                    "identifier": identifier,
                    "payload": {"stripe_customer_id": customer_id, "value": str(quantity)},
                    "timestamp": int(at.timestamp()),
                },
                {"idempotency_key": f"usage:{identifier}"},
            )
        except stripe.InvalidRequestError as problem:
            if not is_counted_already(problem):
                raise

    async def _customer(self, customer_id: str) -> dict[str, Any]:
        try:
            found = await self._v1.customers.retrieve_async(
                customer_id, {"expand": ["invoice_settings.default_payment_method"]}
            )
        except stripe.InvalidRequestError as problem:
            if is_missing(problem):
                raise
            found = await self._v1.customers.retrieve_async(customer_id)  # of a deleted one nothing expands
        return found.to_dict()

    async def _subscriptions(self, customer_id: str) -> list[dict[str, Any]]:
        page = await self._v1.subscriptions.list_async(
            {
                "customer": customer_id,
                "status": "all",
                "limit": PAGE,
                "expand": ["data.default_payment_method"],
            }
        )
        found = [one.to_dict() async for one in page.auto_paging_iter()]
        for one in found:
            if _is_cut(one.get("items")):
                one["items"] = await self._items(one["id"])
        return found

    async def _invoices(self, customer_id: str) -> list[dict[str, Any]]:
        """The newest, and whichever of the older ones are still open."""
        newest = await self._v1.invoices.list_async({"customer": customer_id, "limit": PAGE})
        found = {one.id: one.to_dict() for one in newest.data}
        if newest.has_more:
            unpaid = await self._v1.invoices.list_async(
                {"customer": customer_id, "status": "open", "limit": PAGE}
            )
            found |= {one.id: one.to_dict() async for one in unpaid.auto_paging_iter()}
        for one in found.values():
            if _is_cut(one.get("lines")):
                lines = await self._v1.invoices.line_items.list_async(one["id"], {"limit": PAGE})
                one["lines"] = [each.to_dict() async for each in lines.auto_paging_iter()]
        return list(found.values())

    async def _items(self, subscription_id: str) -> list[dict[str, Any]]:
        page = await self._v1.subscription_items.list_async({"subscription": subscription_id, "limit": PAGE})
        return [one.to_dict() async for one in page.auto_paging_iter()]


async def _asked_with(key: str, page: stripe.ListObject[Any]) -> str:
    """Id of the one that was made for this key; "" where there is none."""
    async for one in page.auto_paging_iter():
        if (one.to_dict().get("metadata") or {}).get(ADJUSTMENT) == key:
            return str(one.id)
    return ""


def _is_cut(inner: Any) -> bool:
    """Of a list inside of an object only the first ten are shown."""
    return bool((inner or {}).get("has_more"))


def _name_of(key: str) -> str:
    """For a store that should not learn the key."""
    return hashlib.sha256(key.encode()).hexdigest()[:24]


_GATEWAYS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str | None], StripeGateway]] = (
    WeakKeyDictionary()  # connections belong to the loop that opened them
)


def gateway(key: str, base: str | None = None) -> Provider:
    """The one of this account in this process: its pace and its circuit are shared by all who ask."""
    mine = _GATEWAYS.setdefault(asyncio.get_running_loop(), {})
    if (key, base) not in mine:
        mine[key, base] = StripeGateway(key, base)
    return mine[key, base]


async def close() -> None:
    """All connections of this loop. What asks afterwards opens new ones."""
    for one in _GATEWAYS.pop(asyncio.get_running_loop(), {}).values():
        await one.close()
