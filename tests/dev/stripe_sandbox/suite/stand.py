"""The stand-in as a server that really listens, and a shop on it that tests talk to through the official SDK.

With STRIPE_TEST_KEY set, the same tests run against Stripe's test mode; those that need a hand inside the stand-in
ask for `account` or `stand`, and are skipped then.
"""

import json
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import stripe
import uvicorn

from shared.dev.stripe_sandbox import api
from shared.dev.stripe_sandbox.contract import find_violations
from shared.dev.stripe_sandbox.store import Sandbox

REAL_KEY = os.environ.get("STRIPE_TEST_KEY", "")
DAY = 86_400


def to_timestamp(text: str) -> int:
    """`2025-01-31` or `2025-01-31 12:30`, UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@dataclass
class ContractChecker:
    """In front of the stand-in: holds every answer to the SDK's types, and keeps what it saw."""

    app: Any
    problems: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        messages: list[Any] = []

        async def keep(message: Any) -> None:
            messages.append(message)

        await self.app(scope, receive, keep)
        body = b"".join(message.get("body", b"") for message in messages)
        self.check_response(f"{scope['method']} {scope['path']}", messages[0]["status"], json.loads(body))
        for message in messages:  # judged before anybody reads it
            await send(message)

    def check_response(self, where: str, status: int, body: Any) -> None:
        if status == 200:
            self.problems += [f"{where}: {problem}" for problem in find_violations(body)]
            self.problems += [f"{where}: {field_path} was never filled" for field_path in find_unfilled(body)]
            self.kinds |= collect_kinds(body)
        elif status == 501 or not {"type", "message"} <= body.get("error", {}).keys():
            self.problems.append(f"{where}: {status} {body}")


def find_unfilled(value: Any, path: str = "") -> list[str]:
    """Fields that still say what the skeleton left there."""
    if isinstance(value, dict):
        return [
            field_path for key, item in value.items() for field_path in find_unfilled(item, f"{path}.{key}")
        ]
    if isinstance(value, list):
        return [field_path for item in value for field_path in find_unfilled(item, f"{path}[]")]
    return [path] if value == "unset" else []


def collect_kinds(value: Any) -> set[str]:
    if isinstance(value, dict):
        own_kind = {value["object"]} if isinstance(value.get("object"), str) else set()
        return own_kind.union(*map(collect_kinds, value.values()))
    return set().union(*map(collect_kinds, value)) if isinstance(value, list) else set()


class ThreadedSandbox:
    def __init__(self) -> None:
        self.sandbox = Sandbox(base_url="http://stripe.test")
        self.checker = ContractChecker(api.build_app(self.sandbox))
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or every answer waits 40 ms
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(self.checker, log_level="error", lifespan="off", ws="none")
        )
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def build_client(self, key: str, **options: Any) -> stripe.StripeClient:
        bases: Any = dict.fromkeys(("api", "connect", "files", "meter_events"), self.url)
        return stripe.StripeClient(key, base_addresses=bases, **options)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@dataclass
class SdkMerchant:
    """A seller's account: the SDK's client, and the few things that every test needs."""

    client: stripe.StripeClient

    @property
    def v1(self) -> Any:
        return self.client.v1

    def create_clock(self, start: str | int = "2025-01-01") -> Any:
        timestamp = to_timestamp(start) if isinstance(start, str) else start
        return self.v1.test_helpers.test_clocks.create({"frozen_time": timestamp})

    def advance_clock(self, clock: Any, target: str | int) -> None:
        timestamp = to_timestamp(target) if isinstance(target, str) else target
        self.v1.test_helpers.test_clocks.advance(clock.id, {"frozen_time": timestamp})
        while self.v1.test_helpers.test_clocks.retrieve(clock.id).status != "ready":
            time.sleep(1)

    def create_customer(self, clock: Any = None, card: str | None = "pm_card_visa", **more: Any) -> Any:
        params = {"email": "ann@acme.test", "name": "Acme", **more}
        customer = self.v1.customers.create({**params, "test_clock": clock.id} if clock else params)
        if card:
            self.set_card(customer, card)
        return customer

    def set_card(self, customer: Any, card: str) -> Any:
        """A card as the customer's default."""
        method = self.v1.payment_methods.attach(card, {"customer": customer.id})
        settings = {"default_payment_method": method.id}
        self.v1.customers.update(customer.id, {"invoice_settings": settings})
        return method

    def create_price(
        self, amount: int = 2000, *, interval: str = "month", count: int = 1, **more: Any
    ) -> Any:
        recurring = {"interval": interval, "interval_count": count}
        return self._create_price({"unit_amount": amount, "recurring": recurring, **more})

    def create_metered_price(
        self, meter: Any, amount: int = 5, *, interval: str = "month", **more: Any
    ) -> Any:
        recurring = {"interval": interval, "usage_type": "metered", "meter": meter.id}
        amounts = {} if "tiers" in more else {"unit_amount": amount}
        return self._create_price({"recurring": recurring, **amounts, **more})

    def create_meter(self, formula: str = "sum") -> Any:
        name = f"calls_{time.monotonic_ns()}"
        return self.v1.billing.meters.create(
            {"display_name": "Calls", "event_name": name, "default_aggregation": {"formula": formula}}
        )

    def report_usage(self, meter: Any, customer: Any, value: int, timestamp: int | None = None) -> Any:
        payload = {"stripe_customer_id": customer.id, "value": str(value)}
        params = {"event_name": meter.event_name, "payload": payload}
        return self.v1.billing.meter_events.create(
            {**params, "timestamp": timestamp} if timestamp else params
        )

    def subscribe(self, customer: Any, *items: Any, **more: Any) -> Any:
        """Items are prices, or pairs of a price and a quantity."""
        pairs = [price if isinstance(price, tuple) else (price, None) for price in items]
        items_params = [
            {"price": price.id} | ({"quantity": n} if n is not None else {}) for price, n in pairs
        ]
        return self.v1.subscriptions.create({"customer": customer.id, "items": items_params, **more})

    def reload_subscription(self, subscription: Any) -> Any:
        return self.v1.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})

    def list_lines(self, invoice: Any) -> list[tuple[int, int]]:
        """Quantity and amount of each, as on the invoice."""
        return [(line.quantity, line.amount) for line in invoice.lines.data]

    def list_event_types(self, subject: Any, kind: str = "*") -> list[str]:
        """The types of all events about an object, oldest first."""
        events = self.v1.events.list(
            {"limit": 100, **({} if kind == "*" else {"type": kind})}
        ).auto_paging_iter()
        return [event.type for event in events if event.data.object.id == subject.id][::-1]

    def _create_price(self, params: Any) -> Any:
        return self.v1.prices.create({"currency": "usd", "product_data": {"name": "Seats"}, **params})
