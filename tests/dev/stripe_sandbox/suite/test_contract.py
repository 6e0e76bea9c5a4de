"""The contract checks of the Stripe stand-in, and wrong answers that they have to find."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, get_args

import pytest
import stripe
from typing_extensions import is_typeddict

from shared.dev.stripe_sandbox import checkout, routes
from shared.dev.stripe_sandbox.contract import build_skeleton, find_violations, load_classes
from shared.dev.stripe_sandbox.parameters import find_errors, find_params_type, get_param_types
from shared.dev.stripe_sandbox.store import Account, copy_visible
from tests.dev.stripe_sandbox.suite.stand import (
    REAL_KEY,
    ContractChecker,
    SdkMerchant,
    ThreadedSandbox,
    find_unfilled,
)

ALL_KINDS = {
    "account",
    "billing.meter",
    "billing.meter_event",
    "billing.meter_event_summary",
    "billing_portal.configuration",
    "billing_portal.session",
    "charge",
    "checkout.session",
    "coupon",
    "credit_note",
    "credit_note_line_item",
    "customer",
    "customer_balance_transaction",
    "discount",
    "event",
    "invoice",
    "invoice_payment",
    "invoiceitem",
    "item",
    "line_item",
    "list",
    "payment_intent",
    "payment_method",
    "plan",
    "price",
    "product",
    "refund",
    "setup_intent",
    "subscription",
    "subscription_item",
    "tax_id",
    "test_helpers.test_clock",
    "v2.billing.meter_event",
    "webhook_endpoint",
}


def test_objects_of_every_kind_satisfy_the_contract(
    merchant: SdkMerchant, account: Account, sandbox_server: ThreadedSandbox
) -> None:
    """One of everything, retrieved, listed, and as the subject of its event."""
    sandbox_server.checker.kinds.clear()
    v1 = merchant.v1
    v1.accounts.retrieve_current()
    clock = merchant.create_clock("2025-01-01")
    customer, meter = merchant.create_customer(clock), merchant.create_meter()
    v1.customers.tax_ids.create(customer.id, {"type": "eu_vat", "value": "DE123456789"})
    seats, calls = merchant.create_price(), merchant.create_metered_price(meter)
    coupon = v1.coupons.create({"percent_off": 10, "duration": "forever"})
    subscription = merchant.subscribe(customer, (seats, 2), calls, discounts=[{"coupon": coupon.id}])
    v1.subscriptions.retrieve(
        subscription.id, {"expand": ["discounts", "customer", "items.data.price.product"]}
    )
    merchant.report_usage(meter, customer, 4)
    merchant.client.v2.billing.meter_events.create(
        {"event_name": meter.event_name, "payload": {"stripe_customer_id": customer.id, "value": "1"}}
    )
    v1.billing.meters.event_summaries.list(
        meter.id, {"customer": customer.id, "start_time": 1735689600, "end_time": 1738368000}
    )
    invoice = v1.invoices.retrieve(
        subscription.latest_invoice, {"expand": ["payments.data.payment.payment_intent"]}
    )
    intent = invoice.payments.data[0].payment.payment_intent
    v1.charges.retrieve(intent.latest_charge, {"expand": ["refunds"]})
    v1.payment_intents.list({"customer": customer.id})
    v1.refunds.create({"payment_intent": intent.id, "amount": 100})
    v1.credit_notes.create({"invoice": invoice.id, "amount": 200, "credit_amount": 200})
    v1.customers.balance_transactions.list(customer.id)
    v1.invoice_items.create({"customer": customer.id, "amount": 500, "currency": "usd"})
    v1.subscription_items.list({"subscription": subscription.id})
    v1.payment_methods.list({"customer": customer.id})
    configuration = v1.billing_portal.configurations.create(
        {"features": {"invoice_history": {"enabled": True}}}
    )
    v1.billing_portal.sessions.create({"customer": customer.id, "configuration": configuration.id})
    session = v1.checkout.sessions.create(
        {"mode": "setup", "currency": "usd", "customer": customer.id, "success_url": "https://a.test"}
    )
    checkout.pay_with_card(account, session.id, "4242424242424242")
    v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent", "line_items"]})
    session_params = {
        "mode": "subscription",
        "success_url": "https://a.test",
        "line_items": [{"price": calls.id}],
    }
    v1.checkout.sessions.line_items.list(v1.checkout.sessions.create(session_params).id)
    v1.webhook_endpoints.create({"url": "https://a.test", "enabled_events": ["*"]})
    merchant.advance_clock(clock, "2025-02-01 02:00")
    for noun in (
        v1.products,
        v1.prices,
        v1.customers,
        v1.coupons,
        v1.refunds,
        v1.webhook_endpoints,
        v1.invoices,
    ):
        noun.list()
    list(v1.events.list({"limit": 100}).auto_paging_iter())
    assert ALL_KINDS - sandbox_server.checker.kinds == set()
    assert sandbox_server.checker.problems == []


def test_skeleton_of_every_kind_is_valid() -> None:
    problems_by_kind = {}
    for kind in load_classes():
        body = build_skeleton(kind)
        if kind == "event":
            body["data"]["object"] = build_skeleton("customer")
        problems_by_kind[kind] = find_violations(body)
    assert len(problems_by_kind) == 180
    assert {kind: problems for kind, problems in problems_by_kind.items() if problems} == {}


# ── mutants of answers ───────────────────────────────────────────────────────────────────────────────────────────


def _get_first_item(body: Any) -> Any:
    return body["items"]["data"][0]


ANSWER_MUTANTS: dict[str, Callable[[Any], Any]] = {
    "an item without the end of its period": lambda body: _get_first_item(body).pop("current_period_end"),
    "the period where it was years ago": lambda body: body.update(current_period_end=1),
    "a status that does not exist": lambda body: body.update(status="expired"),
    "items as a plain list": lambda body: body.update(items=body["items"]["data"]),
    "no customer": lambda body: body.update(customer=None),
    "a time as text": lambda body: body.update(created="1735689600"),
    "a time as boolean": lambda body: body.update(created=True),
    "no metadata": lambda body: body.pop("metadata"),
    "a number in metadata": lambda body: body.update(metadata={"seats": 3}),
    "half a seat": lambda body: _get_first_item(body).update(quantity=1.5),
}


@pytest.mark.parametrize("mutant", ANSWER_MUTANTS)
def test_wrong_answer_is_caught(merchant: SdkMerchant, mutant: str) -> None:
    subscription = merchant.subscribe(
        merchant.create_customer(), merchant.create_price(), metadata={"a": "1"}
    )
    body = deepcopy(copy_visible(subscription.to_dict(for_json=True)))
    assert find_violations(body) == []
    ANSWER_MUTANTS[mutant](body)
    assert len(find_violations(body)) == 1
    assert find_violations({"object": "list", "data": [body], "has_more": False, "url": "/v1/subscriptions"})
    assert find_violations({**build_skeleton("event"), "data": {"object": body}})


def test_wrong_answer_is_noticed_by_the_checker_of_the_suite() -> None:
    """An answer that is wrong, left as the skeleton or not implemented fails the test that met it."""
    judge = ContractChecker(app=None)
    judge.check_response("GET /v1/x", 200, {"object": "customer", "id": 7, "created": 1, "livemode": False})
    judge.check_response("GET /v1/x", 200, build_skeleton("customer"))
    judge.check_response("GET /v1/x", 501, {"error": {"type": "api_error", "message": "no"}})
    judge.check_response("GET /v1/x", 404, {"detail": "Not Found"})
    assert len(judge.problems) == 4
    assert find_unfilled({"a": [{"b": "unset"}]}) == [".a[].b"]


# ── mutants of requests ──────────────────────────────────────────────────────────────────────────────────────────

REQUEST_MUTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "an unknown parameter": ("CustomerCreateParams", {"nmae": "Acme"}),
    "an unknown parameter inside": ("SubscriptionCreateParams", {"items": [{"prise": "price_1"}]}),
    "one that is missing": ("PriceCreateParams", {"unit_amount": "1"}),
    "one that is missing inside": (
        "PriceCreateParams",
        {"currency": "usd", "recurring": {"interval_count": "1"}},
    ),
    "a word of no enum": ("SubscriptionUpdateParams", {"proration_behavior": "always"}),
    "a word of no enum inside": (
        "PriceCreateParams",
        {"currency": "usd", "recurring": {"interval": "monthly"}},
    ),
    "text for a number": ("SubscriptionCreateParams", {"items": [{"quantity": "three"}]}),
    "a fraction for a number": ("PriceCreateParams", {"currency": "usd", "unit_amount": "19.99"}),
    "a word for a truth": ("SubscriptionUpdateParams", {"cancel_at_period_end": "yes"}),
    "a hash for a list": ("SubscriptionCreateParams", {"items": {"price": "price_1"}}),
    "a list for a text": ("CustomerCreateParams", {"email": ["ann@acme.test"]}),
}


@pytest.mark.parametrize("mutant", REQUEST_MUTANTS)
def test_wrong_request_is_caught(mutant: str) -> None:
    name, params = REQUEST_MUTANTS[mutant]
    assert len(find_errors(params, find_params_type(name))) == 1


def test_unknown_parameter_is_refused_by_every_route(merchant: SdkMerchant) -> None:
    """Stripe refuses it by name, whatever it is."""
    for route in routes.ROUTES:
        with pytest.raises(Exception, match="unknown parameter") as excinfo:
            route.read_params({"surely_unknown": "1"})
        assert getattr(excinfo.value, "status", 0) == 400


def test_accepted_parameters_exist_in_the_sdk() -> None:
    """A misspelled name in the list of a route would be a parameter that is never read."""
    unknown = [
        f"{route.method} {route.path.pattern} {path}"
        for route in routes.ROUTES
        for path in route.accepted_params
        if path != "expand" and not _is_known_path(find_params_type(route.params_type), path.split("."))
    ]
    assert unknown == []


def _is_known_path(hint: Any, path: list[str]) -> bool:
    if not path:
        return True
    if is_typeddict(hint):
        return path[0] in get_param_types(hint) and _is_known_path(get_param_types(hint)[path[0]], path[1:])
    return any(_is_known_path(option, path) for option in get_args(hint))


@pytest.mark.skipif(bool(REAL_KEY), reason="what the stand-in refuses to guess")
def test_unimplemented_parameter_answers_501_and_is_not_retried(
    sandbox_server: ThreadedSandbox, key: str
) -> None:
    client = sandbox_server.build_client(key, max_network_retries=2)
    calls: list[Callable[[], Any]] = [
        lambda: client.v1.customers.create({"tax_exempt": "reverse"}),
        lambda: client.v1.subscriptions.update("sub_1", {"collection_method": "send_invoice"}),
        lambda: client.v1.quotes.list(),
        lambda: client.raw_request("delete", "/v1/customers"),
    ]
    for call in calls:
        sandbox_server.checker.problems.clear()
        with pytest.raises(stripe.APIError) as excinfo:
            call()
        assert excinfo.value.http_status == 501
        assert excinfo.value.headers is not None
        assert excinfo.value.headers["stripe-should-retry"] == "false"
        assert len(sandbox_server.checker.problems) == 1  # asked once
    sandbox_server.checker.problems.clear()
