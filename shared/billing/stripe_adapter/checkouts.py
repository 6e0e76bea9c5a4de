"""Payment pages of Stripe Checkout: one at a time for each customer."""

from datetime import datetime, timedelta

import stripe

from shared.billing.provider import CHECKOUT_PAID, MIN_CHECKOUT_LEFT, ProviderBusy, ProviderRefused
from shared.billing.provider_values import Checkout, CheckoutOrder, OpenCheckouts
from shared.billing.stripe_adapter.idempotency import send_once
from shared.billing.stripe_adapter.lists import PAGE_SIZE
from shared.billing.stripe_adapter.metadata_keys import TENANT_KEY

ORDER_KEY = "bulkhead_order"  # in a checkout session's metadata: the order's fingerprint
# Stripe allows 30 minutes at least; the rest is for clocks that differ. https://docs.stripe.com/api/checkout/sessions/create
CHECKOUT_LIFETIME = timedelta(minutes=40)
CHECKOUT_ROUNDING_S = 600  # two equal orders within it are one request


async def create_checkout(
    v1: "stripe.V1Services", order: CheckoutOrder, now: datetime, *, automatic_tax: bool = False
) -> Checkout:
    """The page asks businesses for their tax id and, where the tax depends on it, for the address. Both are saved to the
    customer. https://docs.stripe.com/tax/checkout/tax-ids
    """
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
        "expires_at": _compute_checkout_end(now),
        "billing_address_collection": "auto",
        "customer_update": {"address": "auto", "name": "auto"},
        "tax_id_collection": {"enabled": True},
    }
    if automatic_tax:
        params["automatic_tax"] = {"enabled": True}
    if order.trial_days:
        params["payment_method_collection"] = "if_required"
        params["subscription_data"] |= {
            "trial_period_days": order.trial_days,
            "trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}},
        }

    async def create_session(options: stripe.RequestOptions) -> stripe.checkout.Session:
        return await v1.checkout.sessions.create_async(params, options)

    async def find_session() -> stripe.checkout.Session | None:
        return await _find_open_session(v1, order)

    try:
        session = await send_once(order.key, create_session, find_session)
    except stripe.IdempotencyError:  # the same order was sent at another time
        if await find_session() is not None:
            raise ProviderBusy from None
        session = await send_once(f"{order.key}-{params['expires_at']}", create_session, find_session)
    if not session.url:
        raise ProviderRefused("The session is complete or has expired.", "session_over", kind="checkout")
    return Checkout(session.id, session.url)


async def close_checkouts(
    v1: "stripe.V1Services", customer_id: str, *, keep: str = "", now: datetime
) -> OpenCheckouts:
    page = await v1.checkout.sessions.list_async({"customer": customer_id, "limit": PAGE_SIZE})
    newest_id = page.data[0].id if page.data else ""
    if page.has_more:  # open ones are less than a day old, but there may be many
        page = await v1.checkout.sessions.list_async(
            {"customer": customer_id, "status": "open", "limit": PAGE_SIZE}
        )
    kept: Checkout | None = None
    closed_count, payment = 0, None
    async for session in page.auto_paging_iter():
        if session.status != "open":
            continue
        if kept is None and session.url and keep and _can_keep_checkout(session, keep, now):
            kept = Checkout(session.id, session.url)
            continue
        try:
            await expire_checkout(v1, session.id)
        except ProviderRefused as refusal:
            payment = refusal
        closed_count += 1
    if payment is not None:
        raise payment
    # Another order may have closed the kept page while this one closed that order's page.
    if kept is not None and closed_count:
        session = await v1.checkout.sessions.retrieve_async(kept.id)
        kept = kept if session.status == "open" else None
    return OpenCheckouts(kept, newest_id)


async def expire_checkout(v1: "stripe.V1Services", session_id: str) -> None:
    """Raises ProviderRefused with `CHECKOUT_PAID` for one that was paid meanwhile."""
    try:
        await v1.checkout.sessions.expire_async(session_id)
    except stripe.InvalidRequestError:
        session = await v1.checkout.sessions.retrieve_async(session_id)
        if session.status == "complete":
            raise ProviderRefused("This checkout was completed.", CHECKOUT_PAID, kind="checkout") from None
        if session.status != "expired":
            raise


def _can_keep_checkout(session: stripe.checkout.Session, fingerprint: str, now: datetime) -> bool:
    """Whether it is a page of this order that can be paid for long enough."""
    order = (session.to_dict().get("metadata") or {}).get(ORDER_KEY)
    return order == fingerprint and session.expires_at >= (now + MIN_CHECKOUT_LEFT).timestamp()


def _compute_checkout_end(now: datetime) -> int:
    """Rounded up, so that a request that is sent again with its key is the same request."""
    ends_at = int((now + CHECKOUT_LIFETIME).timestamp())
    return -(-ends_at // CHECKOUT_ROUNDING_S) * CHECKOUT_ROUNDING_S


async def _find_open_session(v1: "stripe.V1Services", order: CheckoutOrder) -> stripe.checkout.Session | None:
    page = await v1.checkout.sessions.list_async(
        {"customer": order.customer_id, "status": "open", "limit": PAGE_SIZE}
    )
    async for session in page.auto_paging_iter():
        if (session.to_dict().get("metadata") or {}).get(ORDER_KEY) == order.fingerprint:
            return session
    return None
