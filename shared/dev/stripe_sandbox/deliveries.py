"""Events on their way to webhook endpoints: signed, over real HTTP, tried again with growing gaps, kept over a restart.

Deliveries use real time, not the account's clock: a signature from next year would be refused.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import httpx

from shared.dev.stripe_sandbox.chaos import Chaos, ReleaseOrder
from shared.dev.stripe_sandbox.outage import get_outage_end
from shared.dev.stripe_sandbox.refusals import not_found_error
from shared.dev.stripe_sandbox.signing import build_payload, build_signature_header, list_secrets
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox, new_id

DELIVERY_KIND = "_delivery"
MINUTE, HOUR = 60, 3600
# Seconds until the next try, shorter at first than Stripe's. Live events are tried for three days
# (https://docs.stripe.com/webhooks#behaviors). The account's `delivery_gaps` overrides.
RETRY_GAPS_S = (
    1,
    3,
    10,
    30,
    MINUTE,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    *(13 * HOUR,) * 4,
)
TIMEOUT_S = 10.0  # the account's `delivery_timeout_s` overrides
MAX_CONCURRENT = (
    8  # to one endpoint: Stripe does not wait for one answer before it sends the next event either
)
MAX_FINISHED = 500  # finished ones, of an account
USER_AGENT = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"
OPEN_STATES = ("pending", "held")
ENDPOINT_GONE = "The endpoint or the event no longer exists, or the endpoint is disabled."


class DeliveryQueue:
    """The deliveries of all accounts. A delivery is one event to one endpoint, with all its attempts."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._chaos: dict[str, Chaos] = {}
        self._open_deliveries: dict[str, tuple[Account, Object]] = {}
        self._in_progress: set[str] = set()
        self._semaphores: dict[str, asyncio.Semaphore] = {}
        self._wake = asyncio.Event()
        self._client = httpx.AsyncClient(trust_env=False)
        for account in sandbox.accounts.values():
            for delivery in account.objects.get(DELIVERY_KIND, {}).values():
                if (
                    delivery["state"] in OPEN_STATES
                ):  # chaos ends with the process, so nothing is held any more
                    self._open_deliveries[delivery["id"]] = account, delivery | {"state": "pending"}
                    account.put(self._open_deliveries[delivery["id"]][1])
        sandbox.add_event_listener(self.send_event)

    def get_chaos(self, account: Account) -> Chaos:
        return self._chaos.setdefault(account.key, Chaos())

    def set_chaos(self, account: Account, chaos: Chaos) -> None:
        """Set the faults of new deliveries. Held deliveries stay held until they are released."""
        self._chaos[account.key] = chaos

    def send_event(self, account: Account, event: Object) -> None:
        """Send the event to every endpoint that is subscribed to its type."""
        for endpoint in account.objects.get("webhook_endpoint", {}).values():
            if endpoint["status"] == "enabled" and not {event["type"], "*"}.isdisjoint(
                endpoint["enabled_events"]
            ):
                for fate in self.get_chaos(account).plan_deliveries():
                    self._add_delivery(account, event, endpoint, fate.state, fate.wait_s)

    def resend_event(self, account: Account, event_id: str, endpoint_id: str) -> Object:
        """Send the event again immediately and without faults, as the button in Stripe's dashboard does."""
        event, endpoint = account.get("event", event_id), account.get("webhook_endpoint", endpoint_id)
        if event is None:
            raise not_found_error("event", event_id)
        if endpoint is None:
            raise not_found_error("webhook_endpoint", endpoint_id)
        return self._add_delivery(account, event, endpoint, "pending", 0)

    async def release_held(
        self, account: Account, order: ReleaseOrder = "kept", count: int | None = None
    ) -> int:
        """Send the oldest `count` held deliveries, or all, one after the other in `order`. Returns their number."""
        held = [
            delivery
            for owner, delivery in self._open_deliveries.values()
            if owner is account and delivery["state"] == "held" and delivery["id"] not in self._in_progress
        ]
        released = self.get_chaos(account).order_deliveries(held[:count], order)
        self._in_progress |= {delivery["id"] for delivery in released}
        for delivery in released:
            await self._try_and_release(account, delivery)
        return len(released)

    def list_deliveries(self, account: Account) -> list[Object]:
        """Newest first."""
        return account.list_objects(DELIVERY_KIND)

    def wake(self) -> None:
        """Check for due deliveries now, for example after an outage ended early."""
        self._wake.set()

    async def run(self) -> None:
        """Send due deliveries until cancelled. Interrupted ones are sent again after a restart."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                for account, delivery in self._list_due():
                    self._in_progress.add(delivery["id"])
                    group.create_task(self._try_with_limit(account, delivery))
                try:
                    async with asyncio.timeout(self._seconds_until_due()):
                        await self._wake.wait()
                except TimeoutError:
                    pass

    async def close(self) -> None:
        await self._client.aclose()

    def _add_delivery(
        self, account: Account, event: Object, endpoint: Object, state: str, wait_s: float
    ) -> Object:
        delivery = account.put(
            {
                "object": DELIVERY_KIND,
                "id": new_id("del"),
                "event": event["id"],
                "type": event["type"],
                "endpoint": endpoint["id"],
                "url": endpoint["url"],
                "state": state,
                "due": time.time() + wait_s,
                "attempts": [],
            }
        )
        if state in OPEN_STATES:
            self._open_deliveries[delivery["id"]] = account, delivery
        self._wake.set()
        return delivery

    def _list_due(self) -> Iterable[tuple[Account, Object]]:
        now = time.time()
        waiting = [
            (account, delivery)
            for account, delivery in self._open_deliveries.values()
            if self._is_waiting(delivery) and _get_due_time(account, delivery) <= now
        ]
        return sorted(waiting, key=lambda entry: entry[1]["due"])

    def _seconds_until_due(self) -> float | None:
        """Seconds until the next delivery is due; None without one."""
        moments = [
            _get_due_time(account, delivery)
            for account, delivery in self._open_deliveries.values()
            if self._is_waiting(delivery)
        ]
        return max(0.0, min(moments) - time.time()) if moments else None

    def _is_waiting(self, delivery: Object) -> bool:
        return delivery["state"] == "pending" and delivery["id"] not in self._in_progress

    async def _try_with_limit(self, account: Account, delivery: Object) -> None:
        async with self._semaphores.setdefault(delivery["endpoint"], asyncio.Semaphore(MAX_CONCURRENT)):
            await self._try_and_release(account, delivery)

    async def _try_and_release(self, account: Account, delivery: Object) -> None:
        try:
            await self._try_delivery(account, delivery)
        finally:
            self._in_progress.discard(delivery["id"])
            self._wake.set()

    async def _try_delivery(self, account: Account, delivery: Object) -> None:
        attempt = await self._post_event(account, delivery)
        delivery["attempts"].append(attempt)
        gaps = account.settings.get("delivery_gaps", RETRY_GAPS_S)
        if 200 <= attempt["status"] < 300:
            self._finish_delivery(account, delivery, "delivered")
        elif attempt["is_last"] or len(delivery["attempts"]) > len(gaps):
            self._finish_delivery(account, delivery, "failed")
        else:
            delivery |= {"state": "pending", "due": time.time() + gaps[len(delivery["attempts"]) - 1]}
            account.put(delivery)
        self._sandbox.save()

    async def _post_event(self, account: Account, delivery: Object) -> Object:
        event, endpoint = (
            account.get("event", delivery["event"]),
            account.get("webhook_endpoint", delivery["endpoint"]),
        )
        started_at = time.time()
        if event is None or endpoint is None or endpoint["status"] != "enabled":
            return _build_attempt(started_at, problem=ENDPOINT_GONE, is_last=True)
        body = build_payload(event, endpoint)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": build_signature_header(
                body, list_secrets(endpoint, started_at), int(started_at)
            ),
            "User-Agent": USER_AGENT,
        }
        try:
            response = await self._client.post(
                endpoint["url"],
                content=body,
                headers=headers,
                timeout=account.settings.get("delivery_timeout_s", TIMEOUT_S),
            )
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            return _build_attempt(started_at, problem=f"{type(problem).__name__}: {problem}".rstrip(": "))
        return _build_attempt(started_at, status=response.status_code, response_text=response.text)

    def _finish_delivery(self, account: Account, delivery: Object, state: str) -> None:
        delivery["state"] = state
        account.put(delivery)
        self._open_deliveries.pop(delivery["id"], None)
        event = account.get("event", delivery["event"])
        if state == "delivered" and event is not None and event["pending_webhooks"] > 0:
            event["pending_webhooks"] -= 1
            account.put(event)
        finished = [
            candidate
            for candidate in account.objects[DELIVERY_KIND].values()
            if candidate["state"] not in OPEN_STATES
        ]
        for expired in finished[:-MAX_FINISHED]:
            account.delete_object(DELIVERY_KIND, expired["id"])


def _get_due_time(account: Account, delivery: Object) -> float:
    """When it is tried next; not while the account's Stripe is stopped."""
    return max(float(delivery["due"]), get_outage_end(account))


def _build_attempt(
    started_at: float, *, status: int = 0, response_text: str = "", problem: str = "", is_last: bool = False
) -> dict[str, Any]:
    """`status` 0: there was no answer, and `problem` says why. `is_last`: another attempt could not do better."""
    duration_ms = round((time.time() - started_at) * 1000)
    return {
        "at": started_at,
        "took_ms": duration_ms,
        "status": status,
        "answer": response_text[:500],
        "problem": problem,
        "is_last": is_last,
    }
