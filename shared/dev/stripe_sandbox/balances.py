"""The customer's balance: negative is credit for invoices to come."""

from typing import Any

from shared.dev.stripe_sandbox.customers import get_customer
from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata, save_change
from shared.dev.stripe_sandbox.refusals import ApiError, not_found_error
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, is_within, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible


def adjust_balance(
    account: Account, customer_id: str, amount: int, currency: str, kind: str, **fields: Any
) -> Object:
    customer = account.objects["customer"][customer_id]
    previous = copy_visible(customer)
    customer["balance"] += amount
    customer["currency"] = customer["currency"] or currency
    transaction = make_object(
        account,
        "customer_balance_transaction",
        amount=amount,
        currency=currency,
        customer=customer_id,
        ending_balance=customer["balance"],
        type=kind,
        created=account.now(customer),
        **{"metadata": {}, **fields},
    )
    account.put(transaction)
    save_change(account, customer, "customer.updated", previous)
    return transaction


@route(
    "POST",
    "/v1/customers/{customer}/balance_transactions",
    "CustomerBalanceTransactionCreateParams",
    "amount currency description metadata",
)
def create_transaction(call: ApiCall) -> Object:
    customer = get_customer(call.account, call.ids["customer"])
    currency = call.get("currency").lower()
    if customer["currency"] not in (None, currency):
        raise ApiError(f"The customer's currency is {customer['currency']}.", param="currency")
    transaction = adjust_balance(
        call.account,
        customer["id"],
        call.get("amount"),
        currency,
        "adjustment",
        description=call.get("description"),
    )
    merge_metadata(transaction, call.get("metadata"))
    return call.account.put(transaction)


@route(
    "GET",
    "/v1/customers/{customer}/balance_transactions/{id}",
    "CustomerBalanceTransactionRetrieveParams",
)
def retrieve_transaction(call: ApiCall) -> Object:
    transaction = fetch_object(call.account, "customer_balance_transaction", call.ids["id"])
    if transaction["customer"] != call.ids["customer"]:
        raise not_found_error("customer_balance_transaction", transaction["id"])
    return transaction


@route(
    "GET",
    "/v1/customers/{customer}/balance_transactions",
    "CustomerBalanceTransactionListParams",
    f"{PAGING} created invoice",
)
def list_transactions(call: ApiCall) -> Object:
    customer = fetch_object(call.account, "customer", call.ids["customer"], "customer")
    transactions = [
        transaction
        for transaction in call.account.list_objects("customer_balance_transaction")
        if transaction["customer"] == customer["id"]
        and transaction["invoice"] == call.get("invoice", transaction["invoice"])
        and ("created" not in call.params or is_within(transaction["created"], call.get("created")))
    ]
    return paginate(call, transactions, "customer balance transaction")
