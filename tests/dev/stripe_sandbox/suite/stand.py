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
from shared.dev.stripe_sandbox.contract import violations
from shared.dev.stripe_sandbox.store import Sandbox

REAL_KEY = os.environ.get("STRIPE_TEST_KEY", "")
DAY = 86_400


def at(text: str) -> int:
    """`2025-01-31` or `2025-01-31 12:30`, UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@dataclass
class Judge:
    """In front of the stand-in: holds every answer to the SDK's types, and keeps what it saw."""

    app: Any
    wrong: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        messages: list[Any] = []

        async def keep(message: Any) -> None:
            messages.append(message)

        await self.app(scope, receive, keep)
        body = b"".join(message.get("body", b"") for message in messages)
        self.judge(f"{scope['method']} {scope['path']}", messages[0]["status"], json.loads(body))
        for message in messages:  # judged before anybody reads it
            await send(message)

    def judge(self, where: str, status: int, body: Any) -> None:
        if status == 200:
            self.wrong += [f"{where}: {one}" for one in violations(body)]
            self.wrong += [f"{where}: {one} was never filled" for one in unfilled(body)]
            self.kinds |= kinds(body)
        elif status == 501 or not {"type", "message"} <= body.get("error", {}).keys():
            self.wrong.append(f"{where}: {status} {body}")


def unfilled(value: Any, at: str = "") -> list[str]:
    """Fields that still say what the skeleton left there."""
    if isinstance(value, dict):
        return [one for key, each in value.items() for one in unfilled(each, f"{at}.{key}")]
    if isinstance(value, list):
        return [one for each in value for one in unfilled(each, f"{at}[]")]
    return [at] if value == "unset" else []


def kinds(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["object"]} if isinstance(value.get("object"), str) else set()
        return own.union(*map(kinds, value.values()))
    return set().union(*map(kinds, value)) if isinstance(value, list) else set()


class Stand:
    def __init__(self) -> None:
        self.sandbox = Sandbox(base_url="http://stripe.test")
        self.judge = Judge(api.app(self.sandbox))
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or every answer waits 40 ms
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(self.judge, log_level="error", lifespan="off", ws="none")
        )
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def client(self, key: str, **options: Any) -> stripe.StripeClient:
        bases: Any = dict.fromkeys(("api", "connect", "files", "meter_events"), self.url)
        return stripe.StripeClient(key, base_addresses=bases, **options)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@dataclass
class Shop:
    """A seller's account: the SDK's client, and the few things that every test needs."""

    client: stripe.StripeClient

    @property
    def v1(self) -> Any:
        return self.client.v1

    def clock(self, start: str | int = "2025-01-01") -> Any:
        moment = at(start) if isinstance(start, str) else start
        return self.v1.test_helpers.test_clocks.create({"frozen_time": moment})

    def advance(self, clock: Any, to: str | int) -> None:
        moment = at(to) if isinstance(to, str) else to
        self.v1.test_helpers.test_clocks.advance(clock.id, {"frozen_time": moment})
        while self.v1.test_helpers.test_clocks.retrieve(clock.id).status != "ready":
            time.sleep(1)

    def customer(self, clock: Any = None, card: str | None = "pm_card_visa", **more: Any) -> Any:
        sent = {"email": "ann@acme.test", "name": "Acme", **more}
        customer = self.v1.customers.create({**sent, "test_clock": clock.id} if clock else sent)
        if card:
            self.use(customer, card)
        return customer

    def use(self, customer: Any, card: str) -> Any:
        """A card as the customer's default."""
        method = self.v1.payment_methods.attach(card, {"customer": customer.id})
        settings = {"default_payment_method": method.id}
        self.v1.customers.update(customer.id, {"invoice_settings": settings})
        return method

    def price(self, amount: int = 2000, *, interval: str = "month", count: int = 1, **more: Any) -> Any:
        recurring = {"interval": interval, "interval_count": count}
        return self._price({"unit_amount": amount, "recurring": recurring, **more})

    def metered(self, meter: Any, amount: int = 5, *, interval: str = "month", **more: Any) -> Any:
        recurring = {"interval": interval, "usage_type": "metered", "meter": meter.id}
        amounts = {} if "tiers" in more else {"unit_amount": amount}
        return self._price({"recurring": recurring, **amounts, **more})

    def meter(self, formula: str = "sum") -> Any:
        name = f"calls_{time.monotonic_ns()}"
        return self.v1.billing.meters.create(
            {"display_name": "Calls", "event_name": name, "default_aggregation": {"formula": formula}}
        )

    def use_units(self, meter: Any, customer: Any, value: int, when: int | None = None) -> Any:
        payload = {"stripe_customer_id": customer.id, "value": str(value)}
        sent = {"event_name": meter.event_name, "payload": payload}
        return self.v1.billing.meter_events.create({**sent, "timestamp": when} if when else sent)

    def subscribe(self, customer: Any, *items: Any, **more: Any) -> Any:
        """Items are prices, or pairs of a price and a quantity."""
        pairs = [one if isinstance(one, tuple) else (one, None) for one in items]
        sent = [{"price": price.id} | ({"quantity": n} if n is not None else {}) for price, n in pairs]
        return self.v1.subscriptions.create({"customer": customer.id, "items": sent, **more})

    def again(self, subscription: Any) -> Any:
        return self.v1.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})

    def lines(self, invoice: Any) -> list[tuple[int, int]]:
        """Quantity and amount of each, as on the invoice."""
        return [(line.quantity, line.amount) for line in invoice.lines.data]

    def happened(self, subject: Any, kind: str = "*") -> list[str]:
        """The types of all events about an object, oldest first."""
        found = self.v1.events.list(
            {"limit": 100, **({} if kind == "*" else {"type": kind})}
        ).auto_paging_iter()
        return [one.type for one in found if one.data.object.id == subject.id][::-1]

    def _price(self, sent: Any) -> Any:
        return self.v1.prices.create({"currency": "usd", "product_data": {"name": "Seats"}, **sent})
