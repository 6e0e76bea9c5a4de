"""The customer's balance: negative is credit for invoices to come."""

from typing import Any

from shared.dev.stripe_sandbox.customers import known
from shared.dev.stripe_sandbox.objects import fetch, make, merge_metadata, update
from shared.dev.stripe_sandbox.refusals import Refusal, missing
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route, within
from shared.dev.stripe_sandbox.store import Account, Object, visible


def move(account: Account, customer_id: str, amount: int, currency: str, kind: str, **known_: Any) -> Object:
    customer = account.objects["customer"][customer_id]
    before = visible(customer)
    customer["balance"] += amount
    customer["currency"] = customer["currency"] or currency
    made = make(
        account,
        "customer_balance_transaction",
        amount=amount,
        currency=currency,
        customer=customer_id,
        ending_balance=customer["balance"],
        type=kind,
        created=account.now(customer),
        **{"metadata": {}, **known_},
    )
    account.put(made)
    update(account, customer, "customer.updated", before)
    return made


@route(
    "POST",
    "/v1/customers/{customer}/balance_transactions",
    "CustomerBalanceTransactionCreateParams",
    "amount currency description metadata",
)
def create(call: Call) -> Object:
    customer = known(call.account, call.ids["customer"])
    currency = call.get("currency").lower()
    if customer["currency"] not in (None, currency):
        raise Refusal(f"The customer's currency is {customer['currency']}.", param="currency")
    made = move(
        call.account,
        customer["id"],
        call.get("amount"),
        currency,
        "adjustment",
        description=call.get("description"),
    )
    merge_metadata(made, call.get("metadata"))
    return call.account.put(made)


@route(
    "GET",
    "/v1/customers/{customer}/balance_transactions/{id}",
    "CustomerBalanceTransactionRetrieveParams",
)
def retrieve(call: Call) -> Object:
    made = fetch(call.account, "customer_balance_transaction", call.ids["id"])
    if made["customer"] != call.ids["customer"]:
        raise missing("customer_balance_transaction", made["id"])
    return made


@route(
    "GET",
    "/v1/customers/{customer}/balance_transactions",
    "CustomerBalanceTransactionListParams",
    f"{PAGING} created invoice",
)
def listing(call: Call) -> Object:
    customer = fetch(call.account, "customer", call.ids["customer"], "customer")
    found = [
        one
        for one in call.account.all("customer_balance_transaction")
        if one["customer"] == customer["id"]
        and one["invoice"] == call.get("invoice", one["invoice"])
        and ("created" not in call.sent or within(one["created"], call.get("created")))
    ]
    return page(call, found, "customer balance transaction")
