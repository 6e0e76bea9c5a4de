"""The Stripe gateway when Stripe is slow, busy, broken or unreachable."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import stripe
import structlog
from starlette.requests import Request

from shared.billing import provider, provider_values
from shared.billing.provider import KeyRefused, ProviderBusy, ProviderDown, ProviderRefused
from shared.billing.stripe_adapter import errors, transport
from shared.billing.stripe_adapter import gateway as stripe_gateway
from shared.billing.stripe_adapter.gateway import StripeGateway
from shared.billing.stripe_adapter.rate_limit import RateLimiter
from tests.support.billing.stub_server import StubResponse, StubServer, build_error, run_stub

KEY = "sk_test_gateway"
NOTHING = StubResponse(body={"object": "list", "data": [], "has_more": False, "url": "/v1/nothing"})


@pytest.fixture(scope="module")
async def server(anyio_backend: str) -> AsyncIterator[StubServer]:
    async with run_stub() as stub_server:
        yield stub_server


@pytest.fixture
def stub_server(server: StubServer) -> StubServer:
    server.reset()
    return server


@pytest.fixture
async def gateway(stub_server: StubServer) -> AsyncIterator[StripeGateway]:
    gateway = StripeGateway(KEY, stub_server.url)
    yield gateway
    await gateway.close()


@pytest.fixture
def recorded_sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, recorded instead of waited for."""
    pauses: list[float] = []

    async def record_sleep(self: object, seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(transport.StripeTransport, "sleep_async", record_sleep)
    return pauses


async def test_account_id_is_fetched_with_key_and_api_version(
    gateway: StripeGateway, stub_server: StubServer
) -> None:
    assert await gateway.get_account_id() == "acct_1"
    assert stub_server.requests[0][2]["authorization"] == f"Bearer {KEY}"
    assert stub_server.requests[0][2]["stripe-version"] == stripe.api_version


def test_stand_in_address_replaces_every_address_of_the_sdk() -> None:
    gateway = StripeGateway(KEY, "http://stand-in.test")
    moved = gateway._client._requestor._options.base_addresses
    assert set(moved.values()) == {"http://stand-in.test"}
    assert set(moved) == {"api", "connect", "files", "meter_events"}


@pytest.mark.parametrize("key", ["sk_live_1", "rk_live_1", "whatever"])
def test_live_key_is_refused_for_a_stand_in(key: str) -> None:
    with pytest.raises(ValueError, match="stand-in"):
        StripeGateway(key, "http://stand-in.test")


async def test_server_error_is_retried_with_the_same_idempotency_key(
    gateway: StripeGateway, stub_server: StubServer, recorded_sleeps: list[float]
) -> None:
    stub_server.responses = [NOTHING, build_error(500, kind="api_error"), build_error(503, kind="api_error")]
    stub_server.default_response = lambda _: StubResponse(
        body={"id": "cbtxn_1", "object": "customer_balance_transaction"}
    )
    assert await gateway.add_credit("cus_1", 500, "usd", "Sorry", "adj_1") == "cbtxn_1"
    assert [headers["idempotency-key"] for _, _, headers in stub_server.requests[1:]] == ["adj_1"] * 3
    assert len(recorded_sleeps) == 2


async def test_lasting_server_error_is_reported_as_down(
    gateway: StripeGateway, stub_server: StubServer, recorded_sleeps: list[float]
) -> None:
    stub_server.responses = [build_error(500, kind="api_error")] * 3
    with pytest.raises(ProviderDown):
        await gateway.get_account_id()
    assert len(stub_server.requests) == 3


async def test_timed_out_request_is_retried(
    gateway: StripeGateway,
    stub_server: StubServer,
    recorded_sleeps: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "ATTEMPT_TIMEOUT_S", 0.1)
    stub_server.responses = [StubResponse(delay_s=0.3)]
    assert await gateway.get_account_id() == "acct_1"
    assert len(stub_server.requests) == 2


async def test_call_is_limited_in_time(
    gateway: StripeGateway, stub_server: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "MAX_CALL_S", 0.2)
    stub_server.responses = [StubResponse(delay_s=0.5)]
    began = time.monotonic()
    with pytest.raises(ProviderDown):
        await gateway.get_account_id()
    assert time.monotonic() - began < 0.45
    assert transport.CONNECT_TIMEOUT_S <= 3
    assert transport.ATTEMPT_TIMEOUT_S <= 8
    assert provider.MAX_CALL_S <= 25


async def test_unreachable_provider_is_reported_as_down(recorded_sleeps: list[float]) -> None:
    gateway = StripeGateway(KEY, "http://127.0.0.1:1")
    with pytest.raises(ProviderDown):
        await gateway.get_account_id()
    await gateway.close()


async def test_rate_limited_request_waits_for_the_given_time(
    gateway: StripeGateway, stub_server: StubServer, recorded_sleeps: list[float]
) -> None:
    stub_server.responses = [build_error(429, "rate_limit", retry_after="0.2")]
    began = time.monotonic()
    assert await gateway.get_account_id() == "acct_1"
    assert recorded_sleeps == [0.2]
    assert time.monotonic() - began >= 0.19  # whoever else would ask waits as well


async def test_rate_limit_with_a_long_wait_is_reported_with_its_time(
    gateway: StripeGateway, stub_server: StubServer, recorded_sleeps: list[float]
) -> None:
    stub_server.responses = [build_error(429, "rate_limit", retry_after="30")]
    with pytest.raises(ProviderBusy) as raised:
        await gateway.get_account_id()
    assert raised.value.retry_after_s == 30
    assert len(stub_server.requests) == 1
    with pytest.raises(ProviderBusy):  # and is not asked meanwhile
        await gateway.get_account_id()
    assert len(stub_server.requests) == 1


async def test_repeated_rate_limit_is_reported_as_busy(
    gateway: StripeGateway, stub_server: StubServer, recorded_sleeps: list[float]
) -> None:
    stub_server.responses = [build_error(429, "rate_limit", retry_after="0.01")] * 3
    with pytest.raises(ProviderBusy):
        await gateway.get_account_id()
    assert len(stub_server.requests) == 3


async def test_repeated_server_error_is_answered_by_another_key_and_opens_no_breaker(
    gateway: StripeGateway, stub_server: StubServer, recorded_sleeps: list[float]
) -> None:
    repeated = build_error(500, kind="api_error", idempotent_replayed="true")
    entry = StubResponse(body={"id": "cbtxn_1", "object": "customer_balance_transaction"})
    stub_server.responses = [NOTHING, *[repeated, NOTHING] * 6, entry]
    assert await gateway.add_credit("cus_1", 500, "usd", "An hour of outage", "adj_1") == "cbtxn_1"
    keys = [headers["idempotency-key"] for method, _, headers in stub_server.requests if method == "POST"]
    assert keys == ["adj_1", *(f"adj_1~{generation}" for generation in range(1, 7))]
    assert recorded_sleeps == []
    assert await gateway.get_account_id() == "acct_1"


async def test_repeated_refusal_is_asked_again_under_another_key(
    gateway: StripeGateway, stub_server: StubServer
) -> None:
    refused = build_error(400, "invoice_not_editable", idempotent_replayed="true")
    entry = StubResponse(body={"id": "cbtxn_1", "object": "customer_balance_transaction"})
    stub_server.responses = [NOTHING, refused, entry]
    assert await gateway.add_credit("cus_1", 500, "usd", "An hour of outage", "adj_1") == "cbtxn_1"


async def test_repeated_failure_of_a_payment_charges_the_card_once(
    gateway: StripeGateway, stub_server: StubServer
) -> None:
    """The next generation of the key would be a second attempt to charge it."""
    declined = build_error(402, "card_declined", "Declined.", kind="card_error", idempotent_replayed="true")
    stub_server.responses = [StubResponse(body={"id": "sub_1", "status": "paused"})]
    stub_server.default_response = lambda _: declined
    with pytest.raises(ProviderRefused) as caught:
        await gateway.resume_subscription("sub_1", "resume_1")
    assert caught.value.kind == "card"
    assert [method for method, _, _ in stub_server.requests] == ["GET", "POST"]


async def test_rate_limit_without_a_time_backs_off(
    gateway: StripeGateway,
    stub_server: StubServer,
    recorded_sleeps: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RateLimiter, "pause", lambda self, seconds: None)
    stub_server.responses = [build_error(429, "lock_timeout")] * 2
    await gateway.get_account_id()
    assert 0.25 <= recorded_sleeps[0] <= 0.5 <= recorded_sleeps[1] <= 1.0


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_key_is_reported(gateway: StripeGateway, stub_server: StubServer, status: int) -> None:
    stub_server.responses = [build_error(status, "api_key_expired", "Expired API Key provided.")]
    with pytest.raises(KeyRefused):
        await gateway.get_account_id()
    assert len(stub_server.requests) == 1


async def test_declined_card_is_reported_with_its_message(
    gateway: StripeGateway, stub_server: StubServer
) -> None:
    stub_server.responses = [
        NOTHING,
        build_error(402, "card_declined", "Your card was declined.", kind="card_error"),
    ]
    with pytest.raises(ProviderRefused) as raised:
        await gateway.refund_invoice("in_1", 100, "adj_1")
    assert (raised.value.message, raised.value.code) == ("Your card was declined.", "card_declined")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (build_error(402, "card_declined", kind="card_error"), "card"),
        (build_error(402, "expired_card", kind="card_error", param="exp_month"), "card"),
        (build_error(402, "invoice_payment_intent_requires_action", param="invoice"), "other"),
        (build_error(400, param="line_items[0][price]"), "price"),
        (build_error(400, "resource_missing", param="items[1][price]"), "price"),
        (build_error(400, param="subscription_details[items][0][price]"), "price"),
        (build_error(400, param="line_items[0]"), "price"),
        (build_error(400, param="line_items[0][quantity]"), "other"),
        (build_error(400, "resource_missing", param="customer"), "customer"),
        (build_error(400, "email_invalid", param="customer"), "other"),
        (build_error(404, "resource_missing", param="subscription"), "subscription"),
        (build_error(404, "resource_missing", param="id"), "other"),
        (build_error(501, kind="api_error", stripe_should_retry="false"), "other"),
    ],
)
async def test_refusal_is_classified_by_the_fields_of_the_error(
    gateway: StripeGateway, stub_server: StubServer, answer: StubResponse, kind: str
) -> None:
    stub_server.responses = [answer]
    with pytest.raises(ProviderRefused) as raised:
        await gateway.create_portal("cus_1", "http://localhost:3000")
    assert raised.value.kind == kind


@pytest.mark.parametrize(
    "answer",
    [
        StubResponse(200, "this is no JSON"),
        StubResponse(200, []),
        StubResponse(403, {"error": "a proxy that has its own ideas"}),
        StubResponse(502, "<html>Bad gateway</html>", {"stripe-should-retry": "false"}),
        StubResponse(
            409,
            {"error": {"type": "invalid_request_error", "message": "Busy"}},
            {"stripe-should-retry": "false"},
        ),
    ],
)
async def test_unreadable_answer_is_reported_as_down(
    gateway: StripeGateway, stub_server: StubServer, answer: StubResponse
) -> None:
    stub_server.responses = [answer]
    with pytest.raises(ProviderDown):
        await gateway.get_account_id()


@pytest.mark.parametrize(
    "answer",
    [
        build_error(400, "parameter_unknown", "Received unknown parameter: x"),
        build_error(400, "", "Keys for idempotent requests", kind="idempotency_error"),
        build_error(404, "resource_missing", "No such customer: 'cus_1'"),
        build_error(501, "", "Not built", kind="api_error", stripe_should_retry="false"),
    ],
)
async def test_client_error_is_refused_without_a_retry(
    gateway: StripeGateway, stub_server: StubServer, answer: StubResponse
) -> None:
    stub_server.responses = [answer]
    with pytest.raises(ProviderRefused):
        await gateway.create_portal("cus_1", "http://localhost:3000")
    assert len(stub_server.requests) == 1


async def test_refusal_of_personal_data_does_not_quote_it(
    gateway: StripeGateway, stub_server: StubServer
) -> None:
    refusal = build_error(400, "email_invalid", "Invalid email address: ann@acme", param="email")
    calls = (
        lambda: gateway.create_customer("ten_acme", "Acme", "ann@acme", "cus:ten_acme"),
        lambda: gateway.update_billing_details("cus_1", provider_values.BillingDetails(email="ann@acme")),
    )
    for call in calls:
        stub_server.responses = [refusal] * 3
        with structlog.testing.capture_logs() as lines, pytest.raises(ProviderRefused) as raised:
            await call()
        assert "ann@acme" not in f"{lines} {raised.value} {raised.value.message}"
        (line,) = (line for line in lines if line["event"] == "stripe_error")
        assert (line["kind"], line["reason"], line["param"]) == (
            "InvalidRequestError",
            "email_invalid",
            "email",
        )


async def test_unreadable_answer_is_not_logged(gateway: StripeGateway, stub_server: StubServer) -> None:
    stub_server.responses = [StubResponse(200, '{"id": "cus_1", "email": "ann@acme.test"')]
    with structlog.testing.capture_logs() as lines, pytest.raises(ProviderDown) as raised:
        await gateway.fetch_billing_details("cus_1")
    assert lines
    assert "ann@acme" not in f"{lines} {raised.value}"


async def test_missing_customer_is_refused_and_not_reported_as_deleted(
    gateway: StripeGateway, stub_server: StubServer
) -> None:
    """Otherwise a key of another account would end everybody's access."""
    stub_server.responses = [build_error(404, "resource_missing", "No such customer: 'cus_1'")]
    with pytest.raises(ProviderRefused):
        await gateway.fetch_customer("cus_1")


async def test_circuit_breaker_refuses_after_failures_and_recovers(
    gateway: StripeGateway,
    stub_server: StubServer,
    recorded_sleeps: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway._transport._circuit_breaker, "_first_pause", 0.2)
    stub_server.default_response = lambda _: build_error(500, kind="api_error")
    for _ in range(2):
        with pytest.raises(ProviderDown):
            await gateway.get_account_id()
    asked = len(stub_server.requests)
    assert asked == 5  # the sixth try was not made
    began = time.monotonic()
    with pytest.raises(ProviderDown):
        await gateway.get_account_id()
    assert len(stub_server.requests) == asked
    assert time.monotonic() - began < 0.05
    stub_server.default_response = lambda _: StubResponse()
    await asyncio.sleep(0.2)
    assert await gateway.get_account_id() == "acct_1"
    assert await gateway.get_account_id() == "acct_1"


async def test_requests_are_rate_limited(gateway: StripeGateway, stub_server: StubServer) -> None:
    gateway._transport._rate_limiter = RateLimiter("one", rate=50, burst=2)
    began = time.monotonic()
    await asyncio.gather(*(gateway.get_account_id() for _ in range(8)))
    assert time.monotonic() - began > 0.11  # the last of eight waits for six others


async def test_event_loop_keeps_running_while_stripe_is_slow(
    gateway: StripeGateway, stub_server: StubServer
) -> None:
    stub_server.responses = [StubResponse(delay_s=0.4)] * 3
    waiting = [asyncio.create_task(gateway.get_account_id()) for _ in range(3)]
    ticks, longest, last = 0, 0.0, time.monotonic()
    while not all(task.done() for task in waiting):
        await asyncio.sleep(0.005)
        now = time.monotonic()
        ticks, longest, last = ticks + 1, max(longest, now - last), now
    assert ticks > 20
    assert longest < 0.3  # one blocking call alone would be 0.4


async def test_synchronous_sdk_call_raises(gateway: StripeGateway) -> None:
    with pytest.raises(NotImplementedError):
        gateway._client.v1.accounts.retrieve_current()


async def test_gateway_is_shared_per_account(stub_server: StubServer) -> None:
    gateway = stripe_gateway.get_gateway(KEY, stub_server.url)
    assert stripe_gateway.get_gateway(KEY, stub_server.url) is gateway
    assert stripe_gateway.get_gateway("sk_test_other", stub_server.url) is not gateway
    await stripe_gateway.close_gateways()
    assert stripe_gateway.get_gateway(KEY, stub_server.url) is not gateway
    await stripe_gateway.close_gateways()


async def test_subscriptions_are_fetched_from_every_page(
    gateway: StripeGateway, stub_server: StubServer
) -> None:
    many = [
        {"id": f"sub_{n:03}", "object": "subscription", "status": "canceled", "created": n}
        for n in range(250)
    ]

    def answer_request(request: Request) -> StubResponse:
        path, query = request.url.path, request.query_params
        if path.endswith("/cus_1"):
            return StubResponse(body={"id": "cus_1", "object": "customer"})
        if path.endswith("/subscriptions"):
            assert query["status"] == "all"
            ids = [subscription["id"] for subscription in many]
            start = ids.index(query["starting_after"]) + 1 if "starting_after" in query else 0
            page = many[start : start + int(query["limit"])]
            return StubResponse(
                body=build_list(page, more=start + len(page) < len(many)) | {"url": "/v1/subscriptions"}
            )
        return StubResponse(body=build_list([]))

    stub_server.default_response = answer_request
    state = await gateway.fetch_customer("cus_1")
    assert [subscription.id for subscription in state.subscriptions] == [
        subscription["id"] for subscription in many
    ]


async def test_newest_and_all_open_invoices_are_fetched(
    gateway: StripeGateway, stub_server: StubServer
) -> None:
    def answer_request(request: Request) -> StubResponse:
        path, query = request.url.path, request.query_params
        if path.endswith("/cus_1"):
            return StubResponse(body={"id": "cus_1", "object": "customer"})
        if path.endswith("/lines"):
            return StubResponse(body=build_list([{"id": "il_2", "object": "line_item", "amount": 2}]))
        if not path.endswith("/invoices"):
            return StubResponse(body=build_list([]))
        if query.get("status") == "open":
            return StubResponse(body=build_list([build_invoice("in_1"), build_invoice("in_old")]))
        return StubResponse(
            body=build_list([build_invoice("in_2", more=True), build_invoice("in_1")], more=True)
        )

    stub_server.default_response = answer_request
    state = await gateway.fetch_customer("cus_1")
    assert sorted(invoice.id for invoice in state.invoices) == ["in_1", "in_2", "in_old"]
    assert [line.amount for invoice in state.invoices for line in invoice.lines if invoice.id == "in_2"] == [
        2
    ]
    assert not [path for _, path, _ in stub_server.requests if "search" in path]


@pytest.mark.parametrize(
    ("answer", "unknown_ids"),
    [
        (build_error(400, "tax_location_invalid", "The address is invalid."), ("sub_1",)),
        (build_error(500, kind="api_error"), ("sub_1",)),
        (build_error(403), ("sub_1",)),
        (build_error(404, "invoice_upcoming_none"), ()),
    ],
    ids=["refused", "failed", "forbidden", "none"],
)
async def test_state_is_fetched_although_its_preview_is_refused(
    gateway: StripeGateway, stub_server: StubServer, answer: StubResponse, unknown_ids: tuple[str, ...]
) -> None:
    _serve_subscription(stub_server, answer)
    state = await gateway.fetch_customer("cus_1")
    assert [subscription.status for subscription in state.subscriptions] == ["active"]
    assert (state.upcoming.invoices, state.upcoming.unknown_ids) == ((), unknown_ids)
    assert len([path for _, path, _ in stub_server.requests if path.endswith("create_preview")]) == 1


async def test_busy_provider_is_reported_by_the_preview_too(
    gateway: StripeGateway, stub_server: StubServer
) -> None:
    _serve_subscription(stub_server, build_error(429, "rate_limit"))
    with pytest.raises(ProviderBusy):
        await gateway.fetch_customer("cus_1")


@pytest.mark.parametrize(
    ("forbidden", "refund_ids", "dispute_ids"),
    [
        ("/charges", (), ()),
        ("/credit_notes", (), ("du_1",)),
        ("/disputes", ("re_1",), ()),
        ("/invoiceitems", ("re_1",), ("du_1",)),
        ("/early_fraud_warnings", ("re_1",), ("du_1",)),
    ],
    ids=["charges", "credit notes", "disputes", "invoice items", "fraud warnings"],
)
async def test_state_is_fetched_with_a_key_that_may_not_read_everything(
    gateway: StripeGateway,
    stub_server: StubServer,
    forbidden: str,
    refund_ids: tuple[str, ...],
    dispute_ids: tuple[str, ...],
) -> None:
    _serve_charge(stub_server, forbidden)
    state = await gateway.fetch_customer("cus_1")
    assert [invoice.id for invoice in state.invoices] == ["in_1"]
    assert tuple(refund.id for refund in state.refunds) == refund_ids
    assert tuple(dispute.id for dispute in state.disputes) == dispute_ids
    knows_warnings = forbidden not in ("/charges", "/early_fraud_warnings")
    assert [warning.id for warning in state.fraud_warnings] == (["issfr_1"] if knows_warnings else [])
    assert state.upcoming.unknown_ids == (("sub_1",) if forbidden == "/invoiceitems" else ())


async def test_webhook_about_an_object_that_the_key_may_not_read_has_no_customer(
    gateway: StripeGateway, stub_server: StubServer
) -> None:
    """A refused key would stop the webhooks of the whole account."""
    stub_server.responses = [build_error(403)]
    assert await gateway.find_customer_id("ch_1") == ""


async def test_fraud_warning_behind_those_of_other_customers_is_found(
    gateway: StripeGateway, stub_server: StubServer
) -> None:
    _serve_charge(stub_server, forbidden="-")
    serve_charge = stub_server.default_response
    assert callable(serve_charge)

    def answer_request(request: Request) -> StubResponse:
        if not request.url.path.endswith("/early_fraud_warnings"):
            return serve_charge(request)
        assert request.query_params["created[gte]"] == "7"
        is_first_page = "starting_after" not in request.query_params
        warning = {"id": "issfr_1", "object": "radar.early_fraud_warning", "charge": "ch_1"}
        other = warning | {"id": "issfr_2", "charge": "ch_of_another_customer"}
        page = build_list([other if is_first_page else warning], more=is_first_page)
        return StubResponse(body=page | {"url": request.url.path})

    stub_server.default_response = answer_request
    state = await gateway.fetch_customer("cus_1")
    assert [warning.id for warning in state.fraud_warnings] == ["issfr_1"]


async def test_draft_that_staff_stopped_before_a_dispute_is_not_collected_after_it(
    gateway: StripeGateway, stub_server: StubServer
) -> None:
    subscription: dict[str, object] = {"id": "sub_1", "object": "subscription"}
    subscription |= {"ended_at": None, "pause_collection": None}
    drafts = [_build_stopped_draft("in_stopped", created=5)]

    def answer_request(request: Request) -> StubResponse:
        is_list = request.url.path.endswith("/invoices")
        return StubResponse(body=build_list([*drafts]) if is_list else subscription)

    stub_server.default_response = answer_request
    await gateway.pause_collection("sub_1", "du_1", "pause-1")
    _, pause = stub_server.forms[-1]
    marks = {
        name: pause[f"metadata[{name}]"] for name in ("bulkhead_dispute", "bulkhead_dispute_stopped_until")
    }
    assert marks == {"bulkhead_dispute": "du_1", "bulkhead_dispute_stopped_until": "5"}
    subscription["metadata"] = marks
    drafts.append(_build_stopped_draft("in_paused", created=9))
    await gateway.resume_collection("sub_1", "resume-1")
    advanced = [path for path, form in stub_server.forms if "auto_advance" in form]
    assert advanced == ["/v1/invoices/in_paused"]


def _build_stopped_draft(id_: str, *, created: int) -> dict[str, object]:
    return build_invoice(id_) | {
        "status": "draft",
        "billing_reason": "subscription_cycle",
        "auto_advance": False,
        "created": created,
    }


def _serve_charge(stub_server: StubServer, forbidden: str) -> None:
    """A refunded and disputed payment, and a subscription that ends."""
    refunds = build_list([{"id": "re_1", "object": "refund", "amount": 5, "status": "succeeded"}])
    objects: dict[str, list[object]] = {
        "/subscriptions": [
            {"id": "sub_1", "object": "subscription", "status": "active", "created": 1, "cancel_at": 9}
        ],
        "/invoices": [build_invoice("in_1") | {"amount_paid": 5}],
        "/charges": [{"id": "ch_1", "object": "charge", "created": 7, "disputed": True, "refunds": refunds}],
        "/disputes": [{"id": "du_1", "object": "dispute", "charge": "ch_1"}],
        "/radar/early_fraud_warnings": [
            {"id": "issfr_1", "object": "radar.early_fraud_warning", "charge": "ch_1"},
            {"id": "issfr_2", "object": "radar.early_fraud_warning", "charge": "ch_of_another_customer"},
        ],
    }

    def answer_request(request: Request) -> StubResponse:
        path = request.url.path
        if path.endswith(forbidden):
            return build_error(403, message="The provided key does not have the required permissions.")
        if path.endswith("/cus_1"):
            return StubResponse(body={"id": "cus_1", "object": "customer"})
        return StubResponse(body=build_list(objects.get(path.removeprefix("/v1"), [])))

    stub_server.default_response = answer_request


def _serve_subscription(stub_server: StubServer, preview: StubResponse) -> None:
    subscription = {"id": "sub_1", "object": "subscription", "status": "active", "created": 1}

    def answer_request(request: Request) -> StubResponse:
        path = request.url.path
        if path.endswith("/cus_1"):
            return StubResponse(body={"id": "cus_1", "object": "customer"})
        if path.endswith("create_preview"):
            return preview
        return StubResponse(body=build_list([subscription] if path.endswith("/subscriptions") else []))

    stub_server.default_response = answer_request


def build_invoice(id_: str, *, more: bool = False) -> dict[str, object]:
    return {"id": id_, "object": "invoice", "status": "open", "lines": build_list([], more=more)}


def build_list(data: list[object] | list[dict[str, object]], *, more: bool = False) -> dict[str, object]:
    return {"object": "list", "data": data, "has_more": more, "url": "/v1/some"}


async def test_duplicate_usage_report_is_a_success(gateway: StripeGateway, stub_server: StubServer) -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    message = "An event already exists with identifier u1."
    stub_server.responses = [build_error(400, message=message, stripe_should_retry="false")]
    await gateway.report_usage("cus_1", "api_calls", 5, at, "u1")
    stub_server.responses = [build_error(400, message="Events are at most 35 days old.")]
    with pytest.raises(ProviderRefused):
        await gateway.report_usage("cus_1", "api_calls", 5, at, "u2")
