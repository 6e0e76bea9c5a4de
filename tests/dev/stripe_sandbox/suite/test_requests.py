"""Every request: keys, parameters, paging, expansion, idempotency, planted faults."""

from typing import Any

import pytest
import stripe

from shared.dev.stripe_sandbox.store import Account, Fault
from tests.dev.stripe_sandbox.suite.stand import SdkMerchant, ThreadedSandbox


@pytest.mark.parametrize("key", ["sk_live_1", "rk_live_1", "pk_test_1", "whatever"])
def test_request_is_refused_without_a_test_key(sandbox_server: ThreadedSandbox, key: str) -> None:
    with pytest.raises(stripe.AuthenticationError) as excinfo:
        sandbox_server.build_client(key).v1.customers.list()
    assert excinfo.value.http_status == 401


def test_accounts_are_separate_per_key(sandbox_server: ThreadedSandbox) -> None:
    first, second = (
        sandbox_server.build_client("sk_test_isolation_a").v1,
        sandbox_server.build_client("sk_test_isolation_b").v1,
    )
    assert first.accounts.retrieve_current().id != second.accounts.retrieve_current().id
    customer = first.customers.create()
    with pytest.raises(stripe.InvalidRequestError) as excinfo:
        second.customers.retrieve(customer.id)
    assert (excinfo.value.http_status, excinfo.value.code) == (404, "resource_missing")
    assert second.customers.list().data == []
    assert second.events.list().data == []


def test_errors_have_the_shape_of_stripe(merchant: SdkMerchant) -> None:
    with pytest.raises(stripe.InvalidRequestError) as excinfo:
        merchant.v1.customers.create({"nmae": "Acme"})
    error = excinfo.value
    assert (error.http_status, error.code, error.param) == (400, "parameter_unknown", "nmae")
    assert error.request_id is not None
    with pytest.raises(stripe.InvalidRequestError, match="Missing required param: currency") as excinfo:
        merchant.v1.prices.create({"unit_amount": 1})
    assert (excinfo.value.code, excinfo.value.param) == ("parameter_missing", "currency")
    with pytest.raises(stripe.InvalidRequestError) as excinfo:
        merchant.v1.prices.create({"currency": "usd", "recurring": {"interval": "monthly"}})
    assert excinfo.value.param == "recurring[interval]"
    with pytest.raises(stripe.InvalidRequestError) as excinfo:
        merchant.v1.customers.create({"email": "nobody"})
    assert excinfo.value.param == "email"


def test_lists_are_paged_by_cursor(merchant: SdkMerchant) -> None:
    product_ids = [merchant.v1.products.create({"name": f"Product {number}"}).id for number in range(7)]
    newest = product_ids[::-1]

    def list_product_ids(**params: Any) -> tuple[list[str], bool]:
        products = merchant.v1.products.list(params)
        return [product.id for product in products.data], products.has_more

    assert list_product_ids(limit=3)[0] == newest[:3]
    assert list_product_ids(limit=3, starting_after=newest[2])[0] == newest[3:6]
    assert list_product_ids(limit=3, ending_before=newest[4]) == (newest[1:4], True)
    assert list_product_ids(limit=3, ending_before=newest[3]) == (newest[:3], False)
    listed_ids = [product.id for product in merchant.v1.products.list({"limit": 2}).auto_paging_iter()]
    assert listed_ids[:7] == newest
    products_before = merchant.v1.products.list({"limit": 2, "ending_before": newest[5]}).auto_paging_iter()
    assert [product.id for product in products_before] == newest[:5][::-1]
    for bad_params in ({"limit": 0}, {"limit": 101}, {"starting_after": "prod_none"}):
        with pytest.raises(stripe.InvalidRequestError):
            merchant.v1.products.list(bad_params)


def test_full_last_page_has_no_more(merchant: SdkMerchant) -> None:
    customer = merchant.create_customer()
    for _ in range(2):
        merchant.set_card(customer, "pm_card_visa")
    methods = merchant.v1.payment_methods.list({"customer": customer.id, "limit": 3})
    assert (len(methods.data), methods.has_more) == (3, False)


def test_nested_lists_are_limited(merchant: SdkMerchant) -> None:
    customer = merchant.create_customer()
    for number in range(12):
        merchant.v1.invoice_items.create({"customer": customer.id, "amount": 100 + number, "currency": "usd"})
    invoice = merchant.v1.invoices.create(
        {"customer": customer.id, "pending_invoice_items_behavior": "include"}
    )
    assert (len(invoice.lines.data), invoice.lines.has_more) == (10, True)
    assert len(list(invoice.lines.auto_paging_iter())) == 12
    assert invoice.total == 12 * 100 + 66


def test_expanded_fields_contain_objects(merchant: SdkMerchant) -> None:
    subscription = merchant.subscribe(merchant.create_customer(), merchant.create_price())
    expanded = merchant.v1.subscriptions.retrieve(
        subscription.id,
        {"expand": ["customer.invoice_settings.default_payment_method", "latest_invoice.payments"]},
    )
    assert expanded.customer.invoice_settings.default_payment_method.card.last4 == "4242"
    assert expanded.latest_invoice.payments.data[0].status == "paid"
    listed = merchant.v1.subscriptions.list(
        {"expand": ["data.customer", "data.latest_invoice.payments.data"]}
    )
    assert listed.data[0].customer.email == "ann@acme.test"
    assert listed.data[0].latest_invoice.payments.data[0].status == "paid"
    assert merchant.v1.customers.retrieve(
        expanded.customer.id, {"expand": ["subscriptions"]}
    ).subscriptions.data
    with pytest.raises(stripe.InvalidRequestError, match="more than 4 levels"):
        merchant.v1.subscriptions.list({"expand": ["data.items.data.price.product"]})
    for path in ("nothing", "status", "customer.nothing"):
        with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
            merchant.v1.subscriptions.retrieve(subscription.id, {"expand": [path]})


def test_metadata_is_merged(merchant: SdkMerchant) -> None:
    customer = merchant.v1.customers.create({"metadata": {"a": "1", "b": "2"}})
    updated = merchant.v1.customers.update(customer.id, {"metadata": {"b": "", "c": "3"}})
    assert updated.metadata.to_dict() == {"a": "1", "c": "3"}
    assert merchant.v1.customers.update(customer.id, {"metadata": ""}).metadata.to_dict() == {}


def test_idempotency_key_returns_the_same_answer(merchant: SdkMerchant) -> None:
    options: Any = {"idempotency_key": f"k-{merchant.v1.accounts.retrieve_current().id}-{id(merchant)}"}
    first = merchant.v1.customers.create({"name": "Acme"}, options)
    second = merchant.v1.customers.create({"name": "Acme"}, options)
    assert first.id == second.id
    assert second.last_response.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.last_response.headers
    with pytest.raises(stripe.IdempotencyError) as excinfo:
        merchant.v1.customers.create({"name": "Globex"}, options)
    assert excinfo.value.http_status == 400
    created = merchant.v1.events.list({"type": "customer.created"}).data
    assert [event.data.object.id for event in created].count(first.id) == 1
    assert created[0].request.idempotency_key == options["idempotency_key"]


def test_error_is_replayed_for_its_key_but_not_for_a_malformed_request(merchant: SdkMerchant) -> None:
    customer = merchant.create_customer(card=None)
    price, base = merchant.create_price(), f"e-{customer.id}"
    params = {"customer": customer.id, "items": [{"price": price.id}]}
    with pytest.raises(stripe.InvalidRequestError):
        merchant.v1.subscriptions.create(params, {"idempotency_key": base})
    merchant.set_card(customer, "pm_card_visa")
    with pytest.raises(stripe.InvalidRequestError):
        merchant.v1.subscriptions.create(params, {"idempotency_key": base})
    assert merchant.v1.subscriptions.create(params, {"idempotency_key": f"{base}-2"}).status == "active"
    with pytest.raises(stripe.InvalidRequestError):
        merchant.v1.subscriptions.create({**params, "itms": "none"}, {"idempotency_key": f"{base}-3"})
    assert merchant.v1.subscriptions.create(params, {"idempotency_key": f"{base}-3"}).status == "active"


def test_refused_parameter_is_not_saved_under_its_key(merchant: SdkMerchant) -> None:
    price = merchant.create_price()
    customer = merchant.create_customer()
    params: Any = {"customer": customer.id, "items": [{"price": price.id}]}
    merchant.v1.prices.update(price.id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError):
        merchant.v1.subscriptions.create(params, {"idempotency_key": f"p-{customer.id}"})
    merchant.v1.prices.update(price.id, {"active": True})
    created = merchant.v1.subscriptions.create(params, {"idempotency_key": f"p-{customer.id}"})
    assert created.status == "active"


def test_declined_card_is_replayed_for_its_key(merchant: SdkMerchant) -> None:
    customer = merchant.create_customer(card="pm_card_chargeCustomerFail")
    params: Any = {
        "customer": customer.id,
        "items": [{"price": merchant.create_price().id}],
        "payment_behavior": "error_if_incomplete",
    }
    for is_replayed in (False, True):
        with pytest.raises(stripe.CardError) as excinfo:
            merchant.v1.subscriptions.create(params, {"idempotency_key": f"d-{customer.id}"})
        assert ("idempotent-replayed" in (excinfo.value.headers or {})) == is_replayed
        merchant.set_card(customer, "pm_card_visa")


@pytest.mark.parametrize(("kind", "count"), [("500", 0), ("500-done", 1)])
def test_server_error_is_replayed_for_its_key(
    sandbox_server: ThreadedSandbox, account: Account, key: str, kind: str, count: int
) -> None:
    client = sandbox_server.build_client(key)
    account.faults.append(Fault(kind, path="/v1/customers"))
    for is_replayed in (False, True, True):
        with pytest.raises(stripe.APIError) as excinfo:
            client.v1.customers.create({"name": "Acme"}, {"idempotency_key": "k-1"})
        assert excinfo.value.http_status == 500
        assert ("idempotent-replayed" in (excinfo.value.headers or {})) == is_replayed
    assert len(client.v1.customers.list().data) == count
    client.v1.customers.create({"name": "Acme"}, {"idempotency_key": "k-2"})
    assert len(client.v1.customers.list().data) == count + 1


def test_request_with_a_lost_answer_is_executed_once(
    sandbox_server: ThreadedSandbox, account: Account, key: str
) -> None:
    account.faults.append(Fault("lost", times=2, path="/v1/customers"))
    customer = sandbox_server.build_client(key, max_network_retries=2).v1.customers.create({"name": "Once"})
    assert customer.last_response.headers["idempotent-replayed"] == "true"
    assert [customer.id for customer in sandbox_server.build_client(key).v1.customers.list().data] == [
        customer.id
    ]


@pytest.mark.parametrize(
    ("kind", "error", "status"),
    [
        ("429", stripe.RateLimitError, 429),
        ("500", stripe.APIError, 500),
        ("401", stripe.AuthenticationError, 401),
        ("timeout", stripe.APIConnectionError, None),
    ],
)
def test_planted_fault_fails_the_next_request(
    sandbox_server: ThreadedSandbox, account: Account, key: str, kind: str, error: Any, status: int
) -> None:
    account.faults.append(Fault(kind, times=1, path="/v1/customers", seconds=0.3))
    http = stripe.RequestsClient(timeout=0.1)
    client = sandbox_server.build_client(key, http_client=http)
    assert client.v1.products.list().data == []  # another path
    with pytest.raises(error) as excinfo:
        client.v1.customers.create()
    assert excinfo.value.http_status == status
    assert client.v1.customers.list().data == []  # nothing was done, and it is over
    http.close()
