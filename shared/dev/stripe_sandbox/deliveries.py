"""Events on their way to webhook endpoints: signed, over real HTTP, tried again with growing gaps, kept over a restart.

The network keeps real time, whatever clock an account lives by: a signature of next year would be refused.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import httpx

from shared.dev.stripe_sandbox.chaos import Chaos, Order
from shared.dev.stripe_sandbox.outage import stopped_until
from shared.dev.stripe_sandbox.refusals import missing
from shared.dev.stripe_sandbox.signing import payload, secrets_of, signature
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox, new_id

KIND = "_delivery"
GAPS = (
    1,
    3,
    10,
    30,
    60,
)  # seconds until the next try; Stripe takes hours. The account's `delivery_gaps` overrides
TIMEOUT_S = 10.0  # the account's `delivery_timeout_s` overrides
AT_ONCE = 8  # to one endpoint: Stripe does not wait for one answer before it sends the next event either
KEPT = 500  # finished ones, of an account
AGENT = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"
OPEN = ("pending", "held")
GONE = "The endpoint or the event is gone, or the endpoint is disabled."


class Deliveries:
    """Of all accounts of a sandbox. A delivery is one event to one endpoint, with every attempt it took."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._chaos: dict[str, Chaos] = {}
        self._open: dict[str, tuple[Account, Object]] = {}
        self._under_way: set[str] = set()
        self._lanes: dict[str, asyncio.Semaphore] = {}
        self._wake = asyncio.Event()
        self._client = httpx.AsyncClient(trust_env=False)
        for account in sandbox.accounts.values():
            for one in account.objects.get(KIND, {}).values():
                if one["state"] in OPEN:  # chaos ends with the process, so nothing is held any more
                    self._open[one["id"]] = account, one | {"state": "pending"}
                    account.put(self._open[one["id"]][1])
        sandbox.listen(self.send)

    def chaos(self, account: Account) -> Chaos:
        return self._chaos.setdefault(account.key, Chaos())

    def unleash(self, account: Account, chaos: Chaos) -> None:
        """What happens to deliveries from now on. Those already held stay held until they are released."""
        self._chaos[account.key] = chaos

    def send(self, account: Account, event: Object) -> None:
        """To every endpoint that asked for events of this kind."""
        for endpoint in account.objects.get("webhook_endpoint", {}).values():
            if endpoint["status"] == "enabled" and not {event["type"], "*"}.isdisjoint(
                endpoint["enabled_events"]
            ):
                for fate in self.chaos(account).fates():
                    self._add(account, event, endpoint, fate.state, fate.wait_s)

    def resend(self, account: Account, event_id: str, endpoint_id: str) -> Object:
        """Once more, at once, past all chaos; what the dashboard's button does."""
        event, endpoint = account.get("event", event_id), account.get("webhook_endpoint", endpoint_id)
        if event is None:
            raise missing("event", event_id)
        if endpoint is None:
            raise missing("webhook_endpoint", endpoint_id)
        return self._add(account, event, endpoint, "pending", 0)

    async def release(self, account: Account, how: Order = "kept", count: int | None = None) -> int:
        """Try held deliveries, one after the other in this order; the oldest `count`, or all. How many."""
        held = [
            one
            for owner, one in self._open.values()
            if owner is account and one["state"] == "held" and one["id"] not in self._under_way
        ]
        chosen = self.chaos(account).ordered(held[:count], how)
        self._under_way |= {one["id"] for one in chosen}
        for one in chosen:
            await self._try_now(account, one)
        return len(chosen)

    def log(self, account: Account) -> list[Object]:
        """Newest first."""
        return account.all(KIND)

    def nudge(self) -> None:
        """Look again what is due: an outage ended early."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. What was under way then is tried again after a restart."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                for account, one in self._due():
                    self._under_way.add(one["id"])
                    group.create_task(self._in_lane(account, one))
                try:
                    await asyncio.wait_for(self._wake.wait(), self._pause())
                except TimeoutError:
                    pass

    async def close(self) -> None:
        await self._client.aclose()

    def _add(self, account: Account, event: Object, endpoint: Object, state: str, wait_s: float) -> Object:
        one = account.put(
            {
                "object": KIND,
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
        if state in OPEN:
            self._open[one["id"]] = account, one
        self._wake.set()
        return one

    def _due(self) -> Iterable[tuple[Account, Object]]:
        now = time.time()
        waiting = [
            (account, one)
            for account, one in self._open.values()
            if self._waits(one) and _moment(account, one) <= now
        ]
        return sorted(waiting, key=lambda found: found[1]["due"])

    def _pause(self) -> float | None:
        """Seconds until something is due; None while nothing is."""
        moments = [_moment(account, one) for account, one in self._open.values() if self._waits(one)]
        return max(0.0, min(moments) - time.time()) if moments else None

    def _waits(self, one: Object) -> bool:
        return one["state"] == "pending" and one["id"] not in self._under_way

    async def _in_lane(self, account: Account, one: Object) -> None:
        async with self._lanes.setdefault(one["endpoint"], asyncio.Semaphore(AT_ONCE)):
            await self._try_now(account, one)

    async def _try_now(self, account: Account, one: Object) -> None:
        try:
            await self._try(account, one)
        finally:
            self._under_way.discard(one["id"])
            self._wake.set()

    async def _try(self, account: Account, one: Object) -> None:
        attempt = await self._attempt(account, one)
        one["attempts"].append(attempt)
        gaps = account.settings.get("delivery_gaps", GAPS)
        if 200 <= attempt["status"] < 300:
            self._finish(account, one, "delivered")
        elif attempt["problem"] == GONE or len(one["attempts"]) > len(gaps):
            self._finish(account, one, "failed")
        else:
            one |= {"state": "pending", "due": time.time() + gaps[len(one["attempts"]) - 1]}
            account.put(one)
        self._sandbox.save()

    async def _attempt(self, account: Account, one: Object) -> Object:
        event, endpoint = account.get("event", one["event"]), account.get("webhook_endpoint", one["endpoint"])
        began = time.time()
        if event is None or endpoint is None or endpoint["status"] != "enabled":
            return _attempted(began, problem=GONE)
        body = payload(event, endpoint)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(body, secrets_of(endpoint, began), int(began)),
            "User-Agent": AGENT,
        }
        try:
            answer = await self._client.post(
                endpoint["url"],
                content=body,
                headers=headers,
                timeout=account.settings.get("delivery_timeout_s", TIMEOUT_S),
            )
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            return _attempted(began, problem=f"{type(problem).__name__}: {problem}".rstrip(": "))
        return _attempted(began, status=answer.status_code, answer=answer.text)

    def _finish(self, account: Account, one: Object, state: str) -> None:
        one["state"] = state
        account.put(one)
        self._open.pop(one["id"], None)
        event = account.get("event", one["event"])
        if state == "delivered" and event is not None and event["pending_webhooks"] > 0:
            event["pending_webhooks"] -= 1
            account.put(event)
        finished = [each for each in account.objects[KIND].values() if each["state"] not in OPEN]
        for old in finished[:-KEPT]:
            account.drop(KIND, old["id"])


def _moment(account: Account, one: Object) -> float:
    """When it is tried next; not while the account's Stripe is stopped."""
    return max(float(one["due"]), stopped_until(account))


def _attempted(began: float, *, status: int = 0, answer: str = "", problem: str = "") -> dict[str, Any]:
    """`status` 0: there was no answer, and `problem` says why."""
    took = round((time.time() - began) * 1000)
    return {"at": began, "took_ms": took, "status": status, "answer": answer[:500], "problem": problem}
