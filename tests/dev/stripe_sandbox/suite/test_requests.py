"""What holds for every request: keys, parameters, paging, expansion, idempotency, faults."""

from typing import Any

import pytest
import stripe

from shared.dev.stripe_sandbox.store import Account, Fault
from tests.dev.stripe_sandbox.suite.stand import Shop, Stand


@pytest.mark.parametrize("key", ["sk_live_1", "rk_live_1", "pk_test_1", "whatever"])
def test_only_test_keys_are_let_in(stand: Stand, key: str) -> None:
    with pytest.raises(stripe.AuthenticationError) as refused:
        stand.client(key).v1.customers.list()
    assert refused.value.http_status == 401


def test_an_account_per_key(stand: Stand) -> None:
    ours, theirs = stand.client("sk_test_isolation_a").v1, stand.client("sk_test_isolation_b").v1
    assert ours.accounts.retrieve_current().id != theirs.accounts.retrieve_current().id
    customer = ours.customers.create()
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        theirs.customers.retrieve(customer.id)
    assert (unknown.value.http_status, unknown.value.code) == (404, "resource_missing")
    assert theirs.customers.list().data == []
    assert theirs.events.list().data == []


def test_errors_have_stripes_shape(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.customers.create({"nmae": "Acme"})
    error = refused.value
    assert (error.http_status, error.code, error.param) == (400, "parameter_unknown", "nmae")
    assert error.request_id is not None
    with pytest.raises(stripe.InvalidRequestError, match="Missing required param: currency") as refused:
        shop.v1.prices.create({"unit_amount": 1})
    assert (refused.value.code, refused.value.param) == ("parameter_missing", "currency")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.prices.create({"currency": "usd", "recurring": {"interval": "monthly"}})
    assert refused.value.param == "recurring[interval]"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.customers.create({"email": "nobody"})
    assert refused.value.param == "email"


def test_lists_are_paged_by_cursor(shop: Shop) -> None:
    made = [shop.v1.products.create({"name": f"Product {number}"}).id for number in range(7)]
    newest = made[::-1]

    def page(**sent: Any) -> tuple[list[str], bool]:
        found = shop.v1.products.list(sent)
        return [one.id for one in found.data], found.has_more

    assert page(limit=3)[0] == newest[:3]
    assert page(limit=3, starting_after=newest[2])[0] == newest[3:6]
    assert page(limit=3, ending_before=newest[4]) == (newest[1:4], True)
    assert page(limit=3, ending_before=newest[3]) == (newest[:3], False)
    walked = [one.id for one in shop.v1.products.list({"limit": 2}).auto_paging_iter()]
    assert walked[:7] == newest
    back = shop.v1.products.list({"limit": 2, "ending_before": newest[5]}).auto_paging_iter()
    assert [one.id for one in back] == newest[:5][::-1]
    for wrong in ({"limit": 0}, {"limit": 101}, {"starting_after": "prod_none"}):
        with pytest.raises(stripe.InvalidRequestError):
            shop.v1.products.list(wrong)


def test_a_full_page_that_is_the_last_says_so(shop: Shop) -> None:
    customer = shop.customer()
    for _ in range(2):
        shop.use(customer, "pm_card_visa")
    found = shop.v1.payment_methods.list({"customer": customer.id, "limit": 3})
    assert (len(found.data), found.has_more) == (3, False)


def test_long_lists_inside_of_objects_are_cut(shop: Shop) -> None:
    customer = shop.customer()
    for number in range(12):
        shop.v1.invoice_items.create({"customer": customer.id, "amount": 100 + number, "currency": "usd"})
    invoice = shop.v1.invoices.create({"customer": customer.id, "pending_invoice_items_behavior": "include"})
    assert (len(invoice.lines.data), invoice.lines.has_more) == (10, True)
    assert len(list(invoice.lines.auto_paging_iter())) == 12
    assert invoice.total == 12 * 100 + 66


def test_expansion(shop: Shop) -> None:
    subscription = shop.subscribe(shop.customer(), shop.price())
    shown = shop.v1.subscriptions.retrieve(
        subscription.id,
        {"expand": ["customer.invoice_settings.default_payment_method", "latest_invoice.payments"]},
    )
    assert shown.customer.invoice_settings.default_payment_method.card.last4 == "4242"
    assert shown.latest_invoice.payments.data[0].status == "paid"
    listed = shop.v1.subscriptions.list({"expand": ["data.customer", "data.latest_invoice.payments.data"]})
    assert listed.data[0].customer.email == "ann@acme.test"
    assert listed.data[0].latest_invoice.payments.data[0].status == "paid"
    assert shop.v1.customers.retrieve(shown.customer.id, {"expand": ["subscriptions"]}).subscriptions.data
    with pytest.raises(stripe.InvalidRequestError, match="more than 4 levels"):
        shop.v1.subscriptions.list({"expand": ["data.items.data.price.product"]})
    for wrong in ("nothing", "status", "customer.nothing"):
        with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
            shop.v1.subscriptions.retrieve(subscription.id, {"expand": [wrong]})


def test_metadata_is_merged(shop: Shop) -> None:
    customer = shop.v1.customers.create({"metadata": {"a": "1", "b": "2"}})
    changed = shop.v1.customers.update(customer.id, {"metadata": {"b": "", "c": "3"}})
    assert changed.metadata.to_dict() == {"a": "1", "c": "3"}
    assert shop.v1.customers.update(customer.id, {"metadata": ""}).metadata.to_dict() == {}


def test_the_same_key_gets_the_same_answer(shop: Shop) -> None:
    once: Any = {"idempotency_key": f"k-{shop.v1.accounts.retrieve_current().id}-{id(shop)}"}
    first = shop.v1.customers.create({"name": "Acme"}, once)
    second = shop.v1.customers.create({"name": "Acme"}, once)
    assert first.id == second.id
    assert second.last_response.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.last_response.headers
    with pytest.raises(stripe.IdempotencyError) as refused:
        shop.v1.customers.create({"name": "Globex"}, once)
    assert refused.value.http_status == 400
    created = shop.v1.events.list({"type": "customer.created"}).data
    assert [one.data.object.id for one in created].count(first.id) == 1
    assert created[0].request.idempotency_key == once["idempotency_key"]


def test_an_error_is_replayed_too_but_not_a_malformed_request(shop: Shop) -> None:
    customer = shop.customer(card=None)
    price, base = shop.price(), f"e-{customer.id}"
    sent = {"customer": customer.id, "items": [{"price": price.id}]}
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.subscriptions.create(sent, {"idempotency_key": base})
    shop.use(customer, "pm_card_visa")
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.subscriptions.create(sent, {"idempotency_key": base})
    assert shop.v1.subscriptions.create(sent, {"idempotency_key": f"{base}-2"}).status == "active"
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.subscriptions.create({**sent, "itms": "none"}, {"idempotency_key": f"{base}-3"})
    assert shop.v1.subscriptions.create(sent, {"idempotency_key": f"{base}-3"}).status == "active"


def test_a_lost_answer_is_not_done_twice(stand: Stand, account: Account, key: str) -> None:
    account.faults.append(Fault("lost", times=2, path="/v1/customers"))
    made = stand.client(key, max_network_retries=2).v1.customers.create({"name": "Once"})
    assert made.last_response.headers["idempotent-replayed"] == "true"
    assert [one.id for one in stand.client(key).v1.customers.list().data] == [made.id]


@pytest.mark.parametrize(
    ("kind", "error", "status"),
    [
        ("429", stripe.RateLimitError, 429),
        ("500", stripe.APIError, 500),
        ("401", stripe.AuthenticationError, 401),
        ("timeout", stripe.APIConnectionError, None),
    ],
)
def test_faults_on_demand(
    stand: Stand, account: Account, key: str, kind: str, error: Any, status: int
) -> None:
    account.faults.append(Fault(kind, times=1, path="/v1/customers", seconds=0.3))
    http = stripe.RequestsClient(timeout=0.1)
    client = stand.client(key, http_client=http)
    assert client.v1.products.list().data == []  # another path
    with pytest.raises(error) as refused:
        client.v1.customers.create()
    assert refused.value.http_status == status
    assert client.v1.customers.list().data == []  # nothing was done, and it is over
    http.close()
