"""The lever room of the stand-in, for people who develop and for tests: time, network, faults, single customers.

A page with forms, and the same acts as JSON: `POST /_control/<act>` with the act's fields. `account` is a secret test
key; without one it is the demo's.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from shared.dev.stripe_sandbox import cards, pages, portal, signing, timeline
from shared.dev.stripe_sandbox.chaos import Chaos, Order
from shared.dev.stripe_sandbox.deliveries import Deliveries
from shared.dev.stripe_sandbox.refusals import Refusal, missing
from shared.dev.stripe_sandbox.store import Account, Fault, Object, Sandbox

DEMO_KEY = "sk_test_bulkhead_demo"
DAY = 86_400
SHOWN = 50
Key = Annotated[str, StringConstraints(pattern=r"^(sk|rk)_test_\w{1,200}$")]


class Act(BaseModel):
    model_config = ConfigDict(extra="forbid")
    account: Key = DEMO_KEY


class Advance(Act):
    """By `days` and `seconds`, or `to` a moment; the account, or one test clock."""

    days: float = Field(0, ge=0, le=3700)
    seconds: float = Field(0, ge=0)
    to: int | None = None
    clock: str = ""


class Unleash(Act):
    """What is left out is off."""

    seed: int = 0
    hold: bool = False
    delay_s: float = Field(0, ge=0, le=3600)
    shuffle_s: float = Field(0, ge=0, le=3600)
    duplicate: float = Field(0, ge=0, le=1)
    duplicate_next: int = Field(0, ge=0)
    drop: float = Field(0, ge=0, le=1)
    drop_next: int = Field(0, ge=0)


class Release(Act):
    order: Order = "kept"
    count: int | None = Field(None, ge=1)


class Fail(Act):
    """`stopped` refuses everything for `seconds`; the others meet the next `times` requests below `path`."""

    kind: Literal["429", "500", "401", "timeout", "stopped"]
    times: int = Field(1, ge=1, le=100_000)
    path: str = ""
    seconds: float = Field(0, ge=0, le=3600)


class Resend(Act):
    event: str
    endpoint: str


class Roll(Act):
    endpoint: str
    overlap_s: float = Field(DAY, ge=0)


class Network(Act):
    """How an account's deliveries are tried again."""

    gaps: list[float]
    timeout_s: float = Field(10, gt=0, le=120)


class OfCustomer(Act):
    customer: str


class ReplaceCard(OfCustomer):
    card: str = cards.PAYS
