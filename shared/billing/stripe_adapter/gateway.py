"""The implementation of `provider.Provider` with Stripe's API. Mapping, errors and rate limit are in the modules
beside.

Every write has an idempotency key of the caller, so that a retry after a crash has no second effect.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast
from weakref import WeakKeyDictionary

import stripe

from shared.billing.provider import (
    CHECKOUT_PAID,
    MIN_CHECKOUT_LEFT,
    BillingDetails,
    CanceledAddon,
    ChangePreview,
    Checkout,
    CheckoutOrder,
    CustomerState,
    Dispute,
    OpenCheckouts,
    OrderLine,
    PendingChange,
    PriceTag,
    Provider,
    ProviderBusy,
    ProviderRefused,
    Refund,
    RemotePrice,
    TaxId,
    UpcomingCharges,
    UpcomingInvoice,
)
from shared.billing.stripe_adapter import mapping, portal_settings, prices, subscription_items
from shared.billing.stripe_adapter.errors import (
    is_about_whole_account,
    is_duplicate_usage,
    is_missing,
    tolerate_missing_right,
    translate_errors_unquoted,
    translate_stripe_errors,
)
from shared.billing.stripe_adapter.idempotency import find_nothing, send_once
from shared.billing.stripe_adapter.mapping import ADJUSTMENT_KEY
from shared.billing.stripe_adapter.rate_limit import RateLimiter
from shared.billing.stripe_adapter.transport import StripeTransport
from shared.core import log

PAGE_SIZE = 100  # Stripe's maximum; also the number of invoices that we keep
MAX_RECENT_CUSTOMERS = 1_000  # among which a customer without an email is looked for
TENANT_KEY = "tenant_id"  # in a customer's metadata
ORDER_KEY = "bulkhead_order"  # in a checkout session's metadata: the order's fingerprint
CHANGE_KEY = "bulkhead_change"  # in a subscription's metadata: the key of the last change
OBJECT_ID_PATTERN = re.compile(r"[a-z]+(?:_[a-z]+)*_[A-Za-z0-9]{1,200}")
OBJECT_NOUNS = {  # prefix of an id: path of its objects, which have a customer
    "ch": "charges",
    "cn": "credit_notes",
    "cs": "checkout/sessions",
    "ii": "invoiceitems",
    "in": "invoices",
    "pi": "payment_intents",
    "pm": "payment_methods",
    "py": "charges",
    "sub": "subscriptions",
    "sub_sched": "subscription_schedules",
}
PREVIEWED_STATUSES = (
    "trialing",
    "active",
    "past_due",
    "unpaid",
)  # of subscriptions that get further invoices
MAX_PREVIEWS = 3  # of one fetch
PREVIEW_TIMEOUT_S = 8.0
NO_UPCOMING_INVOICE = "invoice_upcoming_none"
CHARGE_NOUNS = {  # the same for objects that have no customer but a charge, or its payment
    "dp": "disputes",
    "du": "disputes",
    "pyr": "refunds",
    "re": "refunds",
}
CHARGE_FIELDS = ("charge", "payment_intent")
REPETITION_SUFFIX = "-repeated"  # of the idempotency key of a refund that repeats a failed one
TEST_KEY_PREFIXES = ("sk_test_", "rk_test_")
# Stripe allows 30 minutes at least; the rest is for clocks that differ. https://docs.stripe.com/api/checkout/sessions/create
CHECKOUT_LIFETIME = timedelta(minutes=40)
CHECKOUT_ROUNDING_S = 600  # two equal orders within it are one request


def _get_time() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class RefundPart:
    """The part of an order that was refunded without a credit note."""

    id: str = ""
    amount: int = 0


class StripeGateway:
    """One Stripe account, or a stand-in at the address `base`, which replaces all four addresses of the SDK."""

    def __init__(
        self, key: str, base: str | None = None, *, get_time: Callable[[], datetime] = _get_time
    ) -> None:
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
        self._get_time = get_time
        self._portal_settings_id = ""  # once they were saved or found

    async def close(self) -> None:
        await self._transport.close_async()

    @translate_stripe_errors
    async def get_account_id(self) -> str:
        return (await self._v1.accounts.retrieve_current_async()).id

    @translate_errors_unquoted
    async def create_customer(self, tenant_id: str, name: str, email: str, key: str) -> str:
        """Stripe keeps idempotency keys for a day.

        Later the customer is found by email; lists, unlike Search, are never stale.
        """
        customers = await self._v1.customers.list_async({"email": email, "limit": PAGE_SIZE})
        async for customer in customers.auto_paging_iter():
            if (customer.to_dict().get("metadata") or {}).get(TENANT_KEY) == tenant_id:
                return customer.id
        # Name and email can differ between attempts, but requests with one key must be equal.
        new_customer = await send_once(
            key,
            lambda options: self._v1.customers.create_async({"metadata": {TENANT_KEY: tenant_id}}, options),
            lambda: self._find_recent_customer(tenant_id),
        )
        await self._v1.customers.update_async(new_customer.id, {"name": name, "email": email})
        return new_customer.id

    @translate_stripe_errors
    async def fetch_customer(self, customer_id: str) -> CustomerState:
        customer = await self._fetch_customer(customer_id)
        try:
            subscriptions = await self._list_subscriptions(customer_id)
            invoices = await self._list_invoices(customer_id)
        except stripe.InvalidRequestError:
            if not customer.get("deleted"):  # lists don't contain deleted customers
                raise
            subscriptions, invoices = [], []
        upcoming = await self._fetch_upcoming_charges(customer, subscriptions)
        refunds, disputes = await self._fetch_charges(customer_id, invoices)
        return mapping.to_customer_state(
            customer, subscriptions, invoices, upcoming, refunds=refunds, disputes=disputes
        )

    @translate_stripe_errors
    async def fetch_billing_details(self, customer_id: str) -> BillingDetails:
        customer = (await self._v1.customers.retrieve_async(customer_id)).to_dict()
        if customer.get("deleted"):
            raise ProviderRefused(f"{customer_id} was deleted.", kind="customer")
        return mapping.to_billing_details(customer, await self._list_tax_ids(customer_id))

    @translate_errors_unquoted
    async def update_billing_details(
        self, customer_id: str, details: BillingDetails, *, removed_tax_ids: Sequence[str] = ()
    ) -> None:
        """The tax ids come last, and the removals after the new one: a call that fails leaves no invoice without."""
        current_tax_ids = [mapping.to_tax_id(raw) for raw in await self._list_tax_ids(customer_id)]
        address: stripe.params.CustomerUpdateParamsAddress = {
            "line1": details.line1,
            "line2": details.line2,
            "postal_code": details.postal_code,
            "city": details.city,
            "state": details.state,
            "country": details.country,
        }
        params: stripe.params.CustomerUpdateParams = {"name": details.name, "email": details.email}
        await self._v1.customers.update_async(customer_id, {**params, "address": address})
        for tax_id in details.tax_ids:
            if not any(tax_id.is_same_number(current) for current in current_tax_ids):
                await self._add_tax_id(customer_id, tax_id)
        for current in current_tax_ids:
            if current.id in removed_tax_ids:
                await self._remove_tax_id(customer_id, current.id)

    @translate_stripe_errors
    async def get_tenant_id(self, customer_id: str) -> str:
        customer = (await self._v1.customers.retrieve_async(customer_id)).to_dict()
        return str((customer.get("metadata") or {}).get(TENANT_KEY) or "")

    @translate_stripe_errors
    async def find_customer_id(self, object_id: str) -> str:
        if not OBJECT_ID_PATTERN.fullmatch(object_id):
            return ""
        prefix = object_id.rpartition("_")[0].removesuffix("_test").removesuffix("_live")
        if (noun := CHARGE_NOUNS.get(prefix)) is not None:
            dispute_or_refund = await self._fetch_object(noun, object_id, expand=CHARGE_FIELDS)
            subject: dict[str, Any] = next(filter(None, map(dispute_or_refund.get, CHARGE_FIELDS)), {})
        elif (noun := OBJECT_NOUNS.get(prefix)) is not None:
            subject = await self._fetch_object(noun, object_id)
        else:
            log.get_logger(__name__).warning("stripe_object_unknown", prefix=prefix, object_id=object_id)
            return ""
        return mapping.get_object_id(subject.get("customer"))

    async def _fetch_object(self, noun: str, object_id: str, expand: Sequence[str] = ()) -> dict[str, Any]:
        """The object as Stripe sends it; {} for a missing one, and for one that the key can't read."""
        try:
            with tolerate_missing_right(noun):
                answer = await self._client.raw_request_async(
                    "get", f"/v1/{noun}/{object_id}", **({"expand": list(expand)} if expand else {})
                )
                return dict(answer.data)
        except stripe.InvalidRequestError as problem:
            if not is_missing(problem):
                raise
        return {}

    @translate_stripe_errors
    async def create_checkout(self, order: CheckoutOrder) -> Checkout:
        about = dict(order.metadata)
        about_page = about | ({ORDER_KEY: order.fingerprint} if order.fingerprint else {})
        params: stripe.params.checkout.SessionCreateParams = {
            "mode": "subscription",
            "customer": order.customer_id,
            "client_reference_id": about.get(TENANT_KEY, order.customer_id),
            "line_items": [
                {"price": line.external_price_id}
                if line.quantity is None
                else {"price": line.external_price_id, "quantity": line.quantity}
                for line in order.lines
            ],
            "metadata": about_page,
            "subscription_data": {"metadata": about},
            "success_url": order.return_url,
            "cancel_url": order.cancel_url,
            "expires_at": self._compute_checkout_end(),
        }
        if order.trial_days:
            params["payment_method_collection"] = "if_required"
            params["subscription_data"] |= {
                "trial_period_days": order.trial_days,
                "trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}},
            }

        async def create_session(options: stripe.RequestOptions) -> stripe.checkout.Session:
            return await self._v1.checkout.sessions.create_async(params, options)

        async def find_session() -> stripe.checkout.Session | None:
            return await self._find_open_session(order)

        try:
            session = await send_once(order.key, create_session, find_session)
        except stripe.IdempotencyError:  # the same order was sent at another time
            if await find_session() is not None:
                raise ProviderBusy from None
            session = await send_once(f"{order.key}-{params['expires_at']}", create_session, find_session)
        if not session.url:
            raise ProviderRefused("The session is complete or has expired.", "session_over", kind="checkout")
        return Checkout(session.id, session.url)

    @translate_stripe_errors
    async def close_checkouts(self, customer_id: str, *, keep: str = "") -> OpenCheckouts:
        page = await self._v1.checkout.sessions.list_async({"customer": customer_id, "limit": PAGE_SIZE})
        newest_id = page.data[0].id if page.data else ""
        if page.has_more:  # open ones are less than a day old, but there may be many
            page = await self._v1.checkout.sessions.list_async(
                {"customer": customer_id, "status": "open", "limit": PAGE_SIZE}
            )
        kept: Checkout | None = None
        closed_count, payment = 0, None
        async for session in page.auto_paging_iter():
            if session.status != "open":
                continue
            if kept is None and session.url and keep and self._can_keep_checkout(session, keep):
                kept = Checkout(session.id, session.url)
                continue
            try:
                await self._expire_checkout(session.id)
            except ProviderRefused as refusal:
                payment = refusal
            closed_count += 1
        if payment is not None:
            raise payment
        # Another order may have closed the kept page while this one closed that order's page.
        if kept is not None and closed_count:
            session = await self._v1.checkout.sessions.retrieve_async(kept.id)
            kept = kept if session.status == "open" else None
        return OpenCheckouts(kept, newest_id)

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
        items = await self._list_items(subscription_id)
        details: stripe.params.InvoiceCreatePreviewParamsSubscriptionDetails = {
            "items": subscription_items.build_item_updates(items, lines),
            "proration_behavior": _get_proration_behavior(prorate=True, bill_now=bill_now),
        }
        if as_of is not None:
            details["proration_date"] = int(as_of.timestamp())
        invoice = await self._v1.invoices.create_preview_async(
            {"customer": customer_id, "subscription": subscription_id, "subscription_details": details}
        )
        return mapping.to_preview(invoice.to_dict(), items, datetime.now(UTC))

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
            return mapping.to_pending_change(raw)
        _require_unended(subscription)
        params: stripe.params.SubscriptionUpdateParams = {
            "items": subscription_items.build_item_updates(await self._list_items(subscription_id), lines),
            "metadata": mapping.to_canceled_addon_metadata(canceled_addons, metadata) | {CHANGE_KEY: key},
            "proration_behavior": _get_proration_behavior(prorate=prorate, bill_now=bill_now),
        }
        if prorate and as_of is not None:
            params["proration_date"] = int(as_of.timestamp())
        if prorate and raw.get("collection_method") != mapping.SEND_INVOICE:
            # Access after the money. Metadata is kept with the update since 2026-05-27.
            # https://docs.stripe.com/billing/subscriptions/pending-updates
            params["payment_behavior"] = "pending_if_incomplete"
        changed = await self._update_subscription(
            subscription_id,
            params,
            key,
            lambda changed: key in (_get_change_key(changed.to_dict()), _get_pending_key(changed.to_dict())),
        )
        return mapping.to_pending_change(changed.to_dict())

    @translate_stripe_errors
    async def cancel_subscription(self, subscription_id: str, *, at_period_end: bool, key: str) -> None:
        if at_period_end:
            await self._update_subscription(
                subscription_id,
                {"cancel_at_period_end": True},
                key,
                lambda changed: changed.cancel_at_period_end,
            )
            return
        try:
            await send_once(
                key,
                lambda options: self._v1.subscriptions.cancel_async(subscription_id, {}, options),
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
                {"cancel_at_period_end": False},
                key,
                lambda changed: not changed.cancel_at_period_end,
            )
        elif subscription.cancel_at is not None:
            await self._update_subscription(
                subscription_id, {"cancel_at": ""}, key, lambda changed: changed.cancel_at is None
            )

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
        """Stripe keeps idempotency keys for a day and callers can retry later, so the key is stored in the metadata
        too.
        """
        entries = self._v1.customers.balance_transactions

        async def find_entry() -> str | None:
            return await _find_by_key(key, await entries.list_async(customer_id, {"limit": PAGE_SIZE}))

        async def create_entry(options: stripe.RequestOptions) -> str:
            params: stripe.params.CustomerBalanceTransactionCreateParams = {
                "amount": -amount,  # Stripe's sign is the amount owed
                "currency": currency,
                "description": description,
                "metadata": {ADJUSTMENT_KEY: key},
            }
            return (await entries.create_async(customer_id, params, options)).id

        if (existing_id := await find_entry()) is not None:
            return existing_id
        return await send_once(key, create_entry, find_entry)

    @translate_stripe_errors
    async def refund_invoice(self, invoice_id: str, amount: int, key: str) -> str:
        """Refunds by a credit note, so that the invoice shows it. Idempotent in the same way as `add_credit`.

        The note of a refund that failed stays issued and takes up its sum: that part is refunded without another note.
        """
        notes = self._v1.credit_notes

        async def find_note() -> str | None:
            return await _find_by_key(
                key, await notes.list_async({"invoice": invoice_id, "limit": PAGE_SIZE})
            )

        if (existing_id := await find_note()) is not None:  # it is made last
            return existing_id
        repetition = await self._repeat_failed_refund(invoice_id, amount, key)
        if repetition.amount == amount:
            return repetition.id

        async def create_note(options: stripe.RequestOptions) -> str:
            note_amount = amount - repetition.amount
            params: stripe.params.CreditNoteCreateParams = {
                "invoice": invoice_id,
                "amount": note_amount,
                "refund_amount": note_amount,
                "metadata": {ADJUSTMENT_KEY: key},
            }
            return (await notes.create_async(params, options)).id

        return await send_once(key, create_note, find_note)

    async def _repeat_failed_refund(self, invoice_id: str, max_amount: int, key: str) -> RefundPart:
        """Refunds what was credited and not refunded because its refund failed, up to this amount."""
        page = await self._v1.credit_notes.list_async(
            {"invoice": invoice_id, "limit": PAGE_SIZE, "expand": ["data.refunds.refund"]}
        )
        credited_refunds = mapping.list_credited_refunds(
            [note.to_dict() async for note in page.auto_paging_iter()]
        )
        failed_refunds = [refund for refund in credited_refunds if not mapping.is_refund_effective(refund)]
        if not failed_refunds:
            return RefundPart()
        intent_id = mapping.get_object_id(failed_refunds[0].get("payment_intent"))
        credited_ids = {refund["id"] for refund in credited_refunds}
        repetitions = [
            refund for refund in await self._list_refunds(intent_id) if refund["id"] not in credited_ids
        ]
        for refund in repetitions:
            if (refund.get("metadata") or {}).get(ADJUSTMENT_KEY) == key:
                return RefundPart(refund["id"], refund["amount"])
        owed_amount = sum(refund["amount"] for refund in failed_refunds) - sum(
            refund["amount"] for refund in repetitions if mapping.is_refund_effective(refund)
        )
        amount = min(max_amount, owed_amount)
        if amount <= 0:
            return RefundPart()
        return RefundPart(await self._refund_payment(intent_id, amount, key), amount)

    async def _refund_payment(self, intent_id: str, amount: int, key: str) -> str:
        async def find_refund() -> str | None:
            refunds = await self._list_refunds(intent_id)
            ids = {(refund.get("metadata") or {}).get(ADJUSTMENT_KEY): refund["id"] for refund in refunds}
            return str(ids[key]) if key in ids else None

        async def create_refund(options: stripe.RequestOptions) -> str:
            params: stripe.params.RefundCreateParams = {
                "payment_intent": intent_id,
                "amount": amount,
                "metadata": {ADJUSTMENT_KEY: key},
            }
            return (await self._v1.refunds.create_async(params, options)).id

        # The credit note of the same order has the key itself.
        return await send_once(f"{key}{REPETITION_SUFFIX}", create_refund, find_refund)

    async def _list_refunds(self, intent_id: str) -> list[dict[str, Any]]:
        page = await self._v1.refunds.list_async({"payment_intent": intent_id, "limit": PAGE_SIZE})
        return [refund.to_dict() async for refund in page.auto_paging_iter()]

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

    async def _expire_checkout(self, session_id: str) -> None:
        """Raises ProviderRefused with `CHECKOUT_PAID` for one that was paid meanwhile."""
        try:
            await self._v1.checkout.sessions.expire_async(session_id)
        except stripe.InvalidRequestError:
            session = await self._v1.checkout.sessions.retrieve_async(session_id)
            if session.status == "complete":
                raise ProviderRefused(
                    "This checkout was completed.", CHECKOUT_PAID, kind="checkout"
                ) from None
            if session.status != "expired":
                raise

    def _can_keep_checkout(self, session: stripe.checkout.Session, fingerprint: str) -> bool:
        """Whether it is a page of this order that can be paid for long enough."""
        order = (session.to_dict().get("metadata") or {}).get(ORDER_KEY)
        return (
            order == fingerprint and session.expires_at >= (self._get_time() + MIN_CHECKOUT_LEFT).timestamp()
        )

    def _compute_checkout_end(self) -> int:
        """Rounded up, so that a request that is sent again with its key is the same request."""
        ends_at = int((self._get_time() + CHECKOUT_LIFETIME).timestamp())
        return -(-ends_at // CHECKOUT_ROUNDING_S) * CHECKOUT_ROUNDING_S

    async def _fetch_customer(self, customer_id: str) -> dict[str, Any]:
        try:
            customer = await self._v1.customers.retrieve_async(
                customer_id, {"expand": ["invoice_settings.default_payment_method"]}
            )
        except stripe.InvalidRequestError as problem:
            if is_missing(problem):
                raise
            customer = await self._v1.customers.retrieve_async(
                customer_id
            )  # a deleted customer can't be expanded
        return customer.to_dict()

    async def _find_open_session(self, order: CheckoutOrder) -> stripe.checkout.Session | None:
        page = await self._v1.checkout.sessions.list_async(
            {"customer": order.customer_id, "status": "open", "limit": PAGE_SIZE}
        )
        async for session in page.auto_paging_iter():
            if (session.to_dict().get("metadata") or {}).get(ORDER_KEY) == order.fingerprint:
                return session
        return None

    async def _find_recent_customer(self, tenant_id: str) -> stripe.Customer | None:
        """The tenant's customer among the newest. Its email can still be missing."""
        page = await self._v1.customers.list_async({"limit": PAGE_SIZE})
        count = 0
        async for customer in page.auto_paging_iter():
            if (customer.to_dict().get("metadata") or {}).get(TENANT_KEY) == tenant_id:
                return customer
            count += 1
            if count == MAX_RECENT_CUSTOMERS:
                break
        return None

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
            if _is_truncated(subscription.get("items")):
                subscription["items"] = await self._list_items(subscription["id"])
        return subscriptions

    async def _fetch_upcoming_charges(
        self, customer: Mapping[str, Any], subscriptions: Sequence[Mapping[str, Any]]
    ) -> UpcomingCharges:
        """Stripe previews one subscription at a time, and none that ends with its period: what it then still charges are
        the pending items.
        """
        live_subscriptions = [raw for raw in subscriptions if raw.get("status") in PREVIEWED_STATUSES]
        ending_ids = [raw["id"] for raw in live_subscriptions if mapping.ends_with_period(raw)]
        invoices, unknown_ids = list[UpcomingInvoice](), list[str]()
        for position, raw in enumerate(raw for raw in live_subscriptions if raw["id"] not in ending_ids):
            try:
                if position >= MAX_PREVIEWS:
                    raise TimeoutError
                async with asyncio.timeout(PREVIEW_TIMEOUT_S):
                    preview = await self._v1.invoices.create_preview_async(
                        {"customer": customer["id"], "subscription": raw["id"]}, {"max_network_retries": 0}
                    )
                invoices.append(mapping.to_upcoming_invoice(preview.to_dict(), raw["id"]))
            except (stripe.StripeError, TimeoutError) as problem:
                if is_about_whole_account(problem):
                    raise
                if not (isinstance(problem, stripe.StripeError) and problem.code == NO_UPCOMING_INVOICE):
                    log.get_logger(__name__).warning("preview_refused", problem=type(problem).__name__)
                    unknown_ids.append(raw["id"])
        if ending_ids:
            items = await self._list_pending_items(customer["id"])
            ending = [raw for raw in live_subscriptions if raw["id"] in ending_ids]
            if items is None:
                unknown_ids += ending_ids
            else:
                invoices += mapping.to_last_invoices(customer, ending, items)
        return UpcomingCharges(tuple(invoices), tuple(unknown_ids))

    async def _list_pending_items(self, customer_id: str) -> list[dict[str, Any]] | None:
        """None where the key can't read them."""
        items: list[dict[str, Any]] | None = None
        with tolerate_missing_right("invoice items"):
            page = await self._v1.invoice_items.list_async(
                {"customer": customer_id, "pending": True, "limit": PAGE_SIZE}
            )
            items = [item.to_dict() async for item in page.auto_paging_iter()]
        return items  # noqa: RET504 - None where the block ended early

    async def _fetch_charges(
        self, customer_id: str, invoices: Sequence[Mapping[str, Any]]
    ) -> tuple[tuple[Refund, ...], tuple[Dispute, ...]]:
        """The newest refunds and disputes; none of those that the key can't read, so that the stored ones stay.

        Stripe lists neither by customer. No request is made for a customer without a payment.
        """
        refunds, disputes = tuple[Refund, ...](), tuple[Dispute, ...]()
        charges = list[dict[str, Any]]()
        if any(invoice.get("amount_paid") for invoice in invoices):
            with tolerate_missing_right("charges"):
                page = await self._v1.charges.list_async(
                    {"customer": customer_id, "limit": PAGE_SIZE, "expand": ["data.refunds"]}
                )
                charges = [charge.to_dict() for charge in page.data]
        with tolerate_missing_right("disputes"):
            disputes = mapping.to_disputes(await self._list_disputes(charges), charges, invoices)
        # Without its credit note, a refund of an adjustment would count as one that was made in Stripe.
        with tolerate_missing_right("refunds and credit notes"):
            refunds = await self._fetch_refunds(customer_id, charges, invoices)
        return refunds, disputes

    async def _list_disputes(self, charges: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        disputes = list[dict[str, Any]]()
        for charge in charges:
            if charge.get("disputed"):
                page = await self._v1.disputes.list_async({"charge": charge["id"]})
                disputes += [dispute.to_dict() for dispute in page.data]
        return disputes

    async def _fetch_refunds(
        self, customer_id: str, charges: Sequence[dict[str, Any]], invoices: Sequence[Mapping[str, Any]]
    ) -> tuple[Refund, ...]:
        for charge in charges:
            if _is_truncated(charge.get("refunds")):
                page = await self._v1.refunds.list_async({"charge": charge["id"], "limit": PAGE_SIZE})
                charge["refunds"] = [refund.to_dict() async for refund in page.auto_paging_iter()]
        if not any(mapping.has_refunds(charge) for charge in charges):
            return ()
        notes = await self._v1.credit_notes.list_async({"customer": customer_id, "limit": PAGE_SIZE})
        return mapping.to_refunds(charges, [note.to_dict() for note in notes.data], invoices)

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
            if _is_truncated(invoice.get("lines")):
                lines = await self._v1.invoices.line_items.list_async(invoice["id"], {"limit": PAGE_SIZE})
                invoice["lines"] = [each.to_dict() async for each in lines.auto_paging_iter()]
        return list(invoices.values())

    async def _list_tax_ids(self, customer_id: str) -> list[dict[str, Any]]:
        page = await self._v1.customers.tax_ids.list_async(customer_id, {"limit": PAGE_SIZE})
        return [tax_id.to_dict() async for tax_id in page.auto_paging_iter()]

    async def _add_tax_id(self, customer_id: str, tax_id: TaxId) -> None:
        kind = cast(Any, tax_id.type)  # the SDK lists the types
        try:
            await self._v1.customers.tax_ids.create_async(customer_id, {"type": kind, "value": tax_id.value})
        except stripe.InvalidRequestError as problem:  # malformed, or one too many
            raise ProviderRefused("The tax id was refused.", problem.code or "", kind="tax_id") from None

    async def _remove_tax_id(self, customer_id: str, tax_id: str) -> None:
        try:
            await self._v1.customers.tax_ids.delete_async(customer_id, tax_id)
        except stripe.InvalidRequestError as problem:
            if not is_missing(problem):  # it was removed meanwhile
                raise

    async def _list_items(self, subscription_id: str) -> list[dict[str, Any]]:
        page = await self._v1.subscription_items.list_async(
            {"subscription": subscription_id, "limit": PAGE_SIZE}
        )
        return [item.to_dict() async for item in page.auto_paging_iter()]


def _get_proration_behavior(
    *, prorate: bool, bill_now: bool
) -> Literal["always_invoice", "create_prorations", "none"]:
    if not prorate:
        return "none"
    return "always_invoice" if bill_now else "create_prorations"


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


async def _find_by_key(key: str, page: stripe.ListObject[Any]) -> str | None:
    """Id of the object with this key; None without one."""
    async for record in page.auto_paging_iter():
        if (record.to_dict().get("metadata") or {}).get(ADJUSTMENT_KEY) == key:
            return str(record.id)
    return None


def _is_truncated(inner: Any) -> bool:
    """Whether a nested list has more items: Stripe returns only the first ten."""
    return bool((inner or {}).get("has_more"))


def _hash_key(key: str) -> str:
    """A hash that can be stored without revealing the key."""
    return hashlib.sha256(key.encode()).hexdigest()[:24]


_GATEWAYS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str | None], StripeGateway]] = (
    WeakKeyDictionary()  # connections belong to the loop that opened them
)


def get_gateway(key: str, base: str | None = None) -> Provider:
    """The gateway of this API key, made once per event loop: all callers share its rate limit and circuit breaker.

    `base`: address of the API; None for Stripe's own.
    """
    gateways = _GATEWAYS.setdefault(asyncio.get_running_loop(), {})
    if (key, base) not in gateways:
        gateways[key, base] = StripeGateway(key, base)
    return gateways[key, base]


async def close_gateways() -> None:
    """Closes all connections of this event loop; later requests open new ones."""
    for gateway in _GATEWAYS.pop(asyncio.get_running_loop(), {}).values():
        await gateway.close()
