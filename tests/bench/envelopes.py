"""How much it costs to know that a webhook is genuine and what it is about: CPU time of one process.

`hmac` is the least: one digest over the body and one comparison. `construct` is Stripe's SDK. Controls read the whole
body as JSON.
"""

import gc
import hmac
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random

import stripe

from shared.billing.inbound_webhooks.signature import InvalidWebhook, verify_event
from shared.core.ids import new_id
from tests.bench.broken import Broken, reason
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.rows import Result, counted, ratios
from tests.support.billing.webhooks import build_body, build_signature

SECRET = "whsec_of_the_bench"
SIZES = {"": 4_096, "@64k": 65_536}
BODIES, TINY_BODIES = 200, 10
REPEATED = {"hmac": 20, "ours": 20, "json": 10, "construct": 1}
ROWS = {
    "envelope/hmac": ("ours", "hmac"),
    "envelope/hmac!json": ("json", "hmac"),
    "envelope/hmac@64k": ("ours@64k", "hmac@64k"),
    "envelope/hmac@64k!json": ("json@64k", "hmac@64k"),
    "envelope/construct-event": ("ours", "construct"),
    "envelope/construct-event!json": ("json", "construct"),
}
Signed = tuple[bytes, str]
Verdict = Callable[[bytes, str], bool]


def is_signed(body: bytes, header: str, secret: str) -> bool:
    """One digest and one comparison. Only for a header of one time and one signature, of any age."""
    stamp, _, claimed = header[2:].partition(",v1=")
    expected = hmac.digest(secret.encode(), stamp.encode() + b"." + body, "sha256").hex()
    return hmac.compare_digest(expected, claimed)


def _hmac(body: bytes, header: str) -> bool:
    return is_signed(body, header, SECRET)


def _ours(body: bytes, header: str) -> bool:
    try:
        return bool(verify_event(body, header, (SECRET,), time.time()).customer_id)
    except InvalidWebhook:
        return False


def _json(body: bytes, header: str) -> bool:
    return _hmac(body, header) and bool(json.loads(body)["data"]["object"]["customer"])


def _construct(body: bytes, header: str) -> bool:
    try:
        event = stripe.Webhook.construct_event(body, header, SECRET)
    except stripe.SignatureVerificationError:
        return False
    return bool(event.data.object["customer"])


SIDES: dict[str, Verdict] = {"hmac": _hmac, "ours": _ours, "json": _json, "construct": _construct}


def subscription(size: int, event_id: str = "") -> bytes:
    """An event of about that many bytes. As Stripe's are: many keys, none of them long."""
    return _subscription(_items_of(size), event_id or new_id("evt"))


@cache
def _items_of(size: int) -> int:
    empty, ten, eleven = (len(_subscription(number, new_id("evt"))) for number in (0, 10, 11))
    return (size - empty) // (eleven - ten)


def _subscription(number: int, event_id: str) -> bytes:
    items = [
        {
            "id": f"si_{n}",
            "object": "subscription_item",
            "current_period_end": 1_800_000_000 + n,
            "price": {"id": f"price_{n}", "object": "price", "currency": "eur", "unit_amount": 2_000},
            "metadata": {},
            "tax_rates": [],
            "subscription": "sub_1",
        }
        for n in range(number)
    ]
    subject = {"id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "active"}
    return build_body(id=event_id, data={"object": {**subject, "items": {"object": "list", "data": items}}})


@dataclass
class Envelopes:
    """`bodies`: of every size in a round."""

    bodies: int
    rounds: list[dict[str, float]] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    def a_round(self, chance: Random) -> None:
        costs = {}
        for place, size in SIZES.items():
            signed = [
                (body, build_signature(body, SECRET))
                for body in (subscription(size) for _ in range(self.bodies))
            ]
            for side in chance.sample(list(SIDES), len(SIDES)):
                if place and side == "construct":
                    continue
                try:
                    costs[side + place] = _cost(SIDES[side], signed, REPEATED[side])
                except Exception as problem:
                    self.broken[side + place] = f"{side}: {reason(problem)}"
        self.rounds.append(costs)

    def result(self, goal: Goal) -> Result:
        our_side, peer_side = ROWS[goal.name]
        if reasons := [self.broken[name] for name in (our_side, peer_side) if name in self.broken]:
            return Result(goal, reason=reasons[0])
        sides = [[costs[name] for costs in counted(self.rounds)] for name in (our_side, peer_side)]
        return Result(goal, ratios(*(reversed(sides) if goal.faster else sides)))


def _cost(judge: Verdict, signed: Sequence[Signed], repeated: int) -> float:
    """CPU microseconds of one body. Raises Broken for a wrong verdict."""
    _check(judge, signed)
    for body, header in signed[: len(signed) // 10]:
        judge(body, header)
    began = time.process_time_ns()
    for _ in range(repeated):
        for body, header in signed:
            judge(body, header)
    spent = time.process_time_ns() - began
    _check(judge, signed)
    return spent / 1_000 / repeated / len(signed)


def _check(judge: Verdict, signed: Sequence[Signed]) -> None:
    for (body, header), (_, foreign) in zip(signed, [*signed[1:], signed[0]], strict=True):
        if not judge(body, header) or judge(body, foreign):
            raise Broken("a wrong verdict")


def measure(options: Options) -> Envelopes:
    measured, chance = Envelopes(TINY_BODIES if options.tiny else BODIES), options.chance()
    gc.collect()
    gc.freeze()
    for _ in options.numbered("envelopes"):
        measured.a_round(chance)
    gc.unfreeze()
    return measured
