"""What developers and tests can do to a stand-in that a customer of Stripe cannot: time, network, faults, bad cards.

A lever is the form that pulls it; `pull` answers with what is worth knowing afterwards.
"""

import time
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.dev.stripe_sandbox import belongings, outage, portal, signing, timeline
from shared.dev.stripe_sandbox.chaos import Chaos, Order
from shared.dev.stripe_sandbox.customers import known
from shared.dev.stripe_sandbox.deliveries import Deliveries
from shared.dev.stripe_sandbox.objects import make
from shared.dev.stripe_sandbox.refusals import Refusal, missing
from shared.dev.stripe_sandbox.store import Account, Fault, Object, visible

DEMO_KEY = "sk_test_bulkhead_demo"
DAY = 86_400
DRAFT_S = 2 * 3600  # an invoice of a renewal stays a draft for about an hour
PAYS = "4242424242424242"
Key = Annotated[str, StringConstraints(pattern=r"^(sk|rk)_test_\w{1,200}$")]


class Lever(BaseModel):
    model_config = ConfigDict(extra="forbid")
    account: Key = DEMO_KEY

    async def pull(self, account: Account, deliveries: Deliveries) -> Object:
        raise NotImplementedError


class Advance(Lever):
    """By days and seconds, or to a moment: the account, or one of its test clocks."""

    days: float = Field(0, ge=0, le=3700)
    seconds: float = Field(0, ge=0, le=3700 * DAY)
    to: int | None = None
    clock: str = ""

    async def pull(self, account: Account, deliveries: Deliveries) -> Object:  # noqa: ARG002
        clock = account.get("test_helpers.test_clock", self.clock)
        if self.clock and clock is None:
            raise missing("test_helpers.test_clock", self.clock)
        until = self.to or account.now(clock) + round(self.days * DAY + self.seconds)
        return {"now": _to(account, clock, until)}


class OwnClock(Lever):
    """One that stands still, for a customer who has none yet: what is advanced then concerns nobody else."""

    customer: str

    async def pull(self, account: Account, deliveries: Deliveries) -> Object:  # noqa: ARG002
        customer, at = known(account, self.customer), account.now()
        if customer.get("test_clock"):
            return {"clock": customer["test_clock"]}
        clock = make(
            account,
            "test_helpers.test_clock",
            frozen_time=at,
            name=customer["name"],
            status="ready",
            created=at,
            deletes_after=at + 30 * DAY,
        )
        account.put(clock)
        customer["test_clock"] = clock["id"]
        account.put(customer)
        return {"clock": clock["id"]}


class Renew(Lever):
    """To shortly after this customer's next renewal, when its invoice has been charged or has failed."""

    customer: str

    async def pull(self, account: Account, deliveries: Deliveries) -> Object:  # noqa: ARG002
        customer = known(account, self.customer)
        ends = [
            item["current_period_end"]
            for one in belongings.running(account, customer)
            for item in one["items"]["data"]
        ]
        if not ends:
            raise Refusal("This customer has no subscription that renews.", param="customer")
        clock = account.get("test_helpers.test_clock", account.clock_of(customer))
        return {"now": _to(account, clock, min(ends) + DRAFT_S)}


class ReplaceCard(Lever):
    """As the customer would in the portal."""

    customer: str
    card: str = PAYS

    async def pull(self, account: Account, deliveries: Deliveries) -> Object:  # noqa: ARG002
        portal.replace_card(account, known(account, self.customer)["id"], self.card)
        return {}


class FailRenewal(Lever):
    """The next charges of this customer are declined, whatever the card."""

    customer: str
    times: int = Field(1, ge=1, le=100)

    async def pull(self, account: Account, deliveries: Deliveries) -> Object:  # noqa: ARG002
        customer = known(account, self.customer)
        customer["_declines"] = self.times
        account.put(customer)
        return {}


class Unleash(Lever):
    """What is left out is off, so an empty form makes the network calm."""

    seed: int = 0
    hold: bool = False
    delay_s: float = Field(0, ge=0, le=3600)
    shuffle_s: float = Field(0, ge=0, le=3600)
    duplicate: float = Field(0, ge=0, le=1)
    duplicate_next: int = Field(0, ge=0, le=100_000)
    drop: float = Field(0, ge=0, le=1)
    drop_next: int = Field(0, ge=0, le=100_000)

    async def pull(self, account: Account, deliveries: Deliveries) -> Object:
        knobs = {one.name: getattr(self, one.name) for one in fields(Chaos) if one.init}
        deliveries.unleash(account, Chaos(**knobs))
        return {"chaos": knobs}


class Release(Lever):
    """Held deliveries, tried one after the other before this answers."""

    order: Order = "kept"
    count: int | None = Field(None, ge=1)

    async def pull(self, account: Account, deliveries: Deliveries) -> Object:
        return {"released": await deliveries.release(account, self.order, self.count)}


class Resend(Lever):
    event: str
    endpoint: str

    async def pull(self, account: Account, deliveries: Deliveries) -> Object:
        return {"delivery": deliveries.resend(account, self.event, self.endpoint)["id"]}


class Network(Lever):
    """When deliveries that failed are tried again, and how long an endpoint may think."""

    gaps: Annotated[list[Annotated[float, Field(ge=0, le=DAY)]], Field(max_length=30)]
    timeout_s: float = Field(10, gt=0, le=120)

    async def pull(self, account: Account, deliveries: Deliveries) -> Object:  # noqa: ARG002
        account.settings.update(delivery_gaps=self.gaps, delivery_timeout_s=self.timeout_s)
        account.put(account.settings)
        return {}


class Roll(Lever):
    """A new signing secret; the old one signs along for a while."""

    endpoint: str
    overlap_s: float = Field(DAY, ge=0, le=7 * DAY)

    async def pull(self, account: Account, deliveries: Deliveries) -> Object:  # noqa: ARG002
        endpoint = account.get("webhook_endpoint", self.endpoint)
        if endpoint is None:
            raise missing("webhook_endpoint", self.endpoint)
        return {"secret": signing.roll(account, endpoint, self.overlap_s)}


class Fail(Lever):
    """The next requests whose path contains `path`. A timeout is not executed; of what is lost only the answer is."""

    kind: Literal["429", "500", "401", "timeout", "lost"]
    times: int = Field(1, ge=1, le=100_000)
    path: str = ""
    seconds: float = Field(0, ge=0, le=600)

    async def pull(self, account: Account, deliveries: Deliveries) -> Object:  # noqa: ARG002
        account.faults.append(Fault(self.kind, self.times, self.path, self.seconds))
        return {"faults": len(account.faults)}


class Stop(Lever):
    """The API refuses everything, and nothing is delivered."""

    seconds: float = Field(60, ge=0, le=DAY)

    async def pull(self, account: Account, deliveries: Deliveries) -> Object:
        outage.stop(account, self.seconds)
        deliveries.nudge()
        return {"until": outage.stopped_until(account)}


class Mend(Lever):
    """No faults and no outage any more."""

    async def pull(self, account: Account, deliveries: Deliveries) -> Object:
        account.faults.clear()
        outage.stop(account, 0)
        deliveries.nudge()
        return {}


# Under the word of its address: what it is, and what the page says once it is done.
LEVERS: dict[str, tuple[type[Lever], str]] = {
    "advance": (Advance, "The clock is advanced."),
    "chaos": (Unleash, "Deliveries meet this from now on."),
    "fail": (Fail, "The next requests fail."),
    "fail-renewal": (FailRenewal, "The next charge of this customer is declined."),
    "mend": (Mend, "Stripe answers again."),
    "network": (Network, "Deliveries are tried again at these times."),
    "own-clock": (OwnClock, "The customer has a clock of its own."),
    "release": (Release, "What was held is sent."),
    "renew": (Renew, "The clock stands after the renewal."),
    "replace-card": (ReplaceCard, "The card is replaced."),
    "resend": (Resend, "The event is on its way once more."),
    "roll": (Roll, "There is a new signing secret. The old one signs along for a while."),
    "stop": (Stop, "Stripe is stopped."),
}


def _to(account: Account, clock: Object | None, until: int) -> int:
    if until <= account.now(clock):
        raise Refusal("Time only moves forward: choose a later moment.", param="to")
    if clock is not None:
        timeline.advance_clock(account, clock["id"], until)
    else:
        timeline.advance(account, until - account.now())
    return account.now(clock)


def facts(account: Account, deliveries: Deliveries, shown: int = 100) -> dict[str, Any]:
    """How things stand, for the page and for tests."""
    return {
        "account": account.key,
        "id": account.id,
        "now": account.now(),
        "chaos": deliveries.chaos(account).shown(),
        "clocks": visible(account.all("test_helpers.test_clock")),
        "faults": [vars(one) for one in account.faults],
        "stopped_s": max(0, round(outage.stopped_until(account) - time.time())),
        "deliveries": deliveries.log(account)[:shown],
    }
