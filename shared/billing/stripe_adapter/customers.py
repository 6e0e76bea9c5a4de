"""Customers at Stripe: made once for each tenant, with their billing details, and found for objects without one."""

import re
from collections.abc import Sequence
from typing import Any, cast

import stripe

from shared.billing.provider import ProviderRefused
from shared.billing.provider_values import BillingDetails, TaxId
from shared.billing.stripe_adapter import customer_mapping, stripe_values
from shared.billing.stripe_adapter.errors import is_missing, tolerate_missing_right
from shared.billing.stripe_adapter.idempotency import send_once
from shared.billing.stripe_adapter.lists import PAGE_SIZE
from shared.billing.stripe_adapter.metadata_keys import TENANT_KEY
from shared.core import log

MAX_RECENT_CUSTOMERS = 1_000  # among which a customer without an email is looked for
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
CHARGE_NOUNS = {  # the same for objects that have no customer but a charge, or its payment
    "dp": "disputes",
    "du": "disputes",
    "issfr": "radar/early_fraud_warnings",
    "pyr": "refunds",
    "re": "refunds",
}
CHARGE_FIELDS = ("charge", "payment_intent")


async def create_customer(v1: "stripe.V1Services", tenant_id: str, name: str, email: str, key: str) -> str:
    """Stripe keeps idempotency keys for a day.

    Later the customer is found by email; lists, unlike Search, are never stale.
    """
    customers = await v1.customers.list_async({"email": email, "limit": PAGE_SIZE})
    async for customer in customers.auto_paging_iter():
        if (customer.to_dict().get("metadata") or {}).get(TENANT_KEY) == tenant_id:
            return customer.id
    # Name and email can differ between attempts, but requests with one key must be equal.
    new_customer = await send_once(
        key,
        lambda options: v1.customers.create_async({"metadata": {TENANT_KEY: tenant_id}}, options),
        lambda: _find_recent_customer(v1, tenant_id),
    )
    await v1.customers.update_async(new_customer.id, {"name": name, "email": email})
    return new_customer.id


async def _find_recent_customer(v1: "stripe.V1Services", tenant_id: str) -> stripe.Customer | None:
    """The tenant's customer among the newest. Its email can still be missing."""
    page = await v1.customers.list_async({"limit": PAGE_SIZE})
    count = 0
    async for customer in page.auto_paging_iter():
        if (customer.to_dict().get("metadata") or {}).get(TENANT_KEY) == tenant_id:
            return customer
        count += 1
        if count == MAX_RECENT_CUSTOMERS:
            break
    return None


async def fetch_customer(v1: "stripe.V1Services", customer_id: str) -> dict[str, Any]:
    try:
        customer = await v1.customers.retrieve_async(
            customer_id, {"expand": ["invoice_settings.default_payment_method"]}
        )
    except stripe.InvalidRequestError as problem:
        if is_missing(problem):
            raise
        customer = await v1.customers.retrieve_async(customer_id)  # a deleted customer can't be expanded
    return customer.to_dict()


async def fetch_billing_details(v1: "stripe.V1Services", customer_id: str) -> BillingDetails:
    customer = (await v1.customers.retrieve_async(customer_id)).to_dict()
    if customer.get("deleted"):
        raise ProviderRefused(f"{customer_id} was deleted.", kind="customer")
    return customer_mapping.to_billing_details(customer, await _list_tax_ids(v1, customer_id))


async def update_billing_details(
    v1: "stripe.V1Services", customer_id: str, details: BillingDetails, *, removed_tax_ids: Sequence[str] = ()
) -> None:
    """The tax ids come last, and the removals after the new one: a call that fails leaves no invoice without."""
    current_tax_ids = [customer_mapping.to_tax_id(raw) for raw in await _list_tax_ids(v1, customer_id)]
    address: stripe.params.CustomerUpdateParamsAddress = {
        "line1": details.line1,
        "line2": details.line2,
        "postal_code": details.postal_code,
        "city": details.city,
        "state": details.state,
        "country": details.country,
    }
    params: stripe.params.CustomerUpdateParams = {"name": details.name, "email": details.email}
    await v1.customers.update_async(customer_id, {**params, "address": address})
    for tax_id in details.tax_ids:
        if not any(tax_id.is_same_number(current) for current in current_tax_ids):
            await _add_tax_id(v1, customer_id, tax_id)
    for current in current_tax_ids:
        if current.id in removed_tax_ids:
            await _remove_tax_id(v1, customer_id, current.id)


async def _list_tax_ids(v1: "stripe.V1Services", customer_id: str) -> list[dict[str, Any]]:
    page = await v1.customers.tax_ids.list_async(customer_id, {"limit": PAGE_SIZE})
    return [tax_id.to_dict() async for tax_id in page.auto_paging_iter()]


async def _add_tax_id(v1: "stripe.V1Services", customer_id: str, tax_id: TaxId) -> None:
    kind = cast(Any, tax_id.type)  # the SDK lists the types
    try:
        await v1.customers.tax_ids.create_async(customer_id, {"type": kind, "value": tax_id.value})
    except stripe.InvalidRequestError as problem:  # malformed, or one too many
        raise ProviderRefused("The tax id was refused.", problem.code or "", kind="tax_id") from None


async def _remove_tax_id(v1: "stripe.V1Services", customer_id: str, tax_id: str) -> None:
    try:
        await v1.customers.tax_ids.delete_async(customer_id, tax_id)
    except stripe.InvalidRequestError as problem:
        if not is_missing(problem):  # it was removed meanwhile
            raise


async def get_tenant_id(v1: "stripe.V1Services", customer_id: str) -> str:
    customer = (await v1.customers.retrieve_async(customer_id)).to_dict()
    return str((customer.get("metadata") or {}).get(TENANT_KEY) or "")


async def find_customer_id(client: stripe.StripeClient, object_id: str) -> str:
    if not OBJECT_ID_PATTERN.fullmatch(object_id):
        return ""
    prefix = object_id.rpartition("_")[0].removesuffix("_test").removesuffix("_live")
    if (noun := CHARGE_NOUNS.get(prefix)) is not None:
        dispute_or_refund = await _fetch_object(client, noun, object_id, expand=CHARGE_FIELDS)
        subject: dict[str, Any] = next(filter(None, map(dispute_or_refund.get, CHARGE_FIELDS)), {})
    elif (noun := OBJECT_NOUNS.get(prefix)) is not None:
        subject = await _fetch_object(client, noun, object_id)
    else:
        log.get_tenant_logger(__name__).warning("stripe_object_unknown", prefix=prefix, object_id=object_id)
        return ""
    return stripe_values.get_object_id(subject.get("customer"))


async def _fetch_object(
    client: stripe.StripeClient, noun: str, object_id: str, expand: Sequence[str] = ()
) -> dict[str, Any]:
    """The object as Stripe sends it; {} for a missing one, and for one that the key can't read."""
    try:
        with tolerate_missing_right(noun):
            answer = await client.raw_request_async(
                "get", f"/v1/{noun}/{object_id}", **({"expand": list(expand)} if expand else {})
            )
            return dict(answer.data)
    except stripe.InvalidRequestError as problem:
        if not is_missing(problem):
            raise
    return {}
