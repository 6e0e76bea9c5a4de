"""What a webhook costs from the wire to the commit: of ours, of doing nothing, and of what is usually done.

CPU time of the server's process and of its database's backends, from the scheduler's own nanoseconds; each side has a
process and a database of its own on one server, the same bodies, the same 32 connections and the same durability. A
calm round is of genuine events only, each once; a storm is half duplicates in any order, and a tenth of it is forged.
Before and after timing every answer is counted, and what is stored is compared with what was sent, event by event. At
the end ours is killed half-way through a storm: what it had acknowledged has to be there.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psycopg

from shared.core.config import DEMO_STRIPE_SECRET
from shared.core.ids import new_id
from tests.bench.broken import Broken, reason
from tests.bench.rows import Goal, Result, ratios
from tests.bench.servers import Server, serving
from tests.support import database
from tests.support.billing.webhooks import build_body_about, build_signature

CONNECTIONS, BODY = 32, 2_500  # at once; bytes
# Requests of a round. `calm` and the storms are all of ours.
SIDES = {
    "noop": ("noop", 3_000),
    "edge": ("edge", 2_000),
    "calm": ("ours", 2_000),
    "storm": ("ours", 2_000),
    "storm@90": ("ours", 2_000),
}
SIDES |= {"sdk": ("sdk", 600), "orm": ("orm", 300), "single-storm": ("single", 1_000)}
DUPLICATES, FORGED = {"storm": 0.5, "storm@90": 0.9, "single-storm": 0.5}, 0.1
PORTS = {"ours": 3310, "noop": 3311, "single": 3312, "sdk": 3313, "orm": 3314, "edge": 3315}
TABLES = {"ours": "billing_inbox", "single": "billing_inbox", "sdk": "billing_inbox", "orm": "peer_inbox"}
PEER = """
create table peer_inbox (like billing_inbox including all);
grant select, insert on peer_inbox to bulkhead_app
"""
ROWS = {  # ours, and what it is compared with; in rows that are faster the other way round
    "intake/noop-cpu": ("calm", "noop"),
    "intake/noop-cpu!orm": ("orm", "noop"),
    "intake/edge-cpu": ("calm", "edge"),
    "intake/edge-cpu!orm": ("orm", "edge"),
    "intake/orm": ("calm", "orm"),
    "intake/orm!sdk": ("sdk", "orm"),
    "intake-storm/calm": ("storm", "calm"),
    "intake-storm/calm!single": ("single-storm", "calm"),
    "intake-storm/calm@90": ("storm@90", "calm"),
    "intake-storm/calm@90!single": ("single-storm", "calm"),
}
GENUINE, REFUSED = 200, 400


@dataclass(frozen=True, slots=True)
class Sent:
    request: bytes
    event_id: str
    genuine: bool


def event(event_id: str) -> bytes:
    subject = {"object": "subscription", "id": "sub_1", "customer": f"cus_{event_id[-3:]}", "more": ""}
    bare = build_body_about(subject, id=event_id)
    return bare.replace(b'"more": ""', b'"more": "%s"' % (b"x" * (BODY - len(bare))))


def wire(event_id: str, *, genuine: bool = True) -> Sent:
    body = event(event_id)
    signed = build_signature(body, DEMO_STRIPE_SECRET if genuine else "whsec_of_somebody_else")
    head = (
        "POST /webhooks/stripe HTTP/1.1\r\nhost: localhost\r\naccept: */*; q=0.5, application/xml\r\n"
        "user-agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\ncontent-type: application/json; charset=utf-8\r\n"
        f"stripe-signature: {signed}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return Sent(head.encode() + body, event_id, genuine)


def drawn(number: int, duplicates: float, forged: float, chance: Random) -> list[Sent]:
    """So many requests in any order, that share of the genuine ones a second or further time."""
    false = int(number * forged)
    once = int((number - false) * (1 - duplicates))
    first = [wire(new_id("evt")) for _ in range(once)]
    again = [chance.choice(first) for _ in range(number - false - once)]
    wrong = [wire(new_id("evt"), genuine=False) for _ in range(false)]
    return chance.sample([*first, *again, *wrong], number)


async def post_all(port: int, requests: Sequence[Sent], answered: list[tuple[Sent, int]]) -> None:
    """Over a few connections that stay open. Ends early when the server goes away."""
    rest = iter(requests)

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for sent in rest:
                writer.write(sent.request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                if length:
                    await reader.readexactly(length)
                answered.append((sent, int(head[9:12])))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


def spent_by(pid: int) -> int:
    """Nanoseconds on a processor so far, of all its threads."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks)


@dataclass
class Receiver:
    """A side's server and database."""

    side: str
    server: Server
    admin: psycopg.Connection

    def spent(self) -> int:
        rows = self.admin.execute(
            "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            " and backend_type = 'client backend'"
        ).fetchall()
        return spent_by(self.server.pid) + sum(spent_by(pid) for (pid,) in rows)

    def stored(self) -> set[str]:
        if self.side not in TABLES:
            return set()
        rows = self.admin.execute(f"select event_id from {TABLES[self.side]}").fetchall()  # type: ignore[arg-type]
        return {event_id for (event_id,) in rows}

    def empty(self) -> None:
        if self.side in TABLES:
            self.admin.execute(f"truncate {TABLES[self.side]}")  # type: ignore[arg-type]

    def cost(self, requests: Sequence[Sent]) -> float:
        """CPU microseconds of a request. The first tenth warms up. Raises Broken for a wrong answer or row."""
        self.server.require_ours()
        self.empty()
        warm, answered = len(requests) // 10, list[tuple[Sent, int]]()
        asyncio.run(post_all(self.server.port, requests[:warm], answered))
        began = self.spent()
        asyncio.run(post_all(self.server.port, requests[warm:], answered))
        spent = self.spent() - began
        self._check(requests, answered)
        self.server.require_ours()
        return spent / 1_000 / (len(requests) - warm)

    def _check(self, requests: Sequence[Sent], answered: Sequence[tuple[Sent, int]]) -> None:
        if len(answered) != len(requests):
            raise Broken(f"{self.side} answered {len(answered)} of {len(requests)}")
        if self.side not in TABLES:
            return
        for sent, status in answered:
            if status != (GENUINE if sent.genuine else REFUSED):
                raise Broken(
                    f"{self.side} answered {status} to a {'genuine' if sent.genuine else 'forged'} one"
                )
        if self.stored() != {sent.event_id for sent in requests if sent.genuine}:
            raise Broken(f"{self.side} lost or invented events")

    def killed(self, chance: Random) -> int:
        """Half-way through a storm. How many it had acknowledged. Raises Broken when one of them is gone."""
        self.empty()
        requests, answered = drawn(4_000, 0.5, FORGED, chance), list[tuple[Sent, int]]()

        async def run() -> None:
            posting = asyncio.create_task(post_all(self.server.port, requests, answered))
            while len(answered) < 1_500:  # noqa: ASYNC110  it is no event of ours
                await asyncio.sleep(0.001)
            os.kill(self.server.pid, signal.SIGKILL)
            await posting

        asyncio.run(run())
        acknowledged = {sent.event_id for sent, status in answered if status == GENUINE}
        if lost := acknowledged - self.stored():
            raise Broken(f"killed, ours lost {len(lost)} of {len(acknowledged)} it had acknowledged")
        return len(acknowledged)


@dataclass
class Storms:
    receivers: dict[str, Receiver]
    rounds: list[dict[str, float]] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    def a_round(self, chance: Random) -> None:
        costs = {}
        for name in chance.sample(list(SIDES), len(SIDES)):
            side, number = SIDES[name]
            storm = DUPLICATES.get(name)
            requests = drawn(number, storm or 0, 0 if storm is None else FORGED, chance)
            try:
                if name not in self.broken:
                    costs[name] = self.receivers[side].cost(requests)
            except (Broken, OSError, psycopg.Error) as problem:
                self.broken[name] = reason(problem)
        self.rounds.append(costs)

    def result(self, goal: Goal) -> Result:
        ours, theirs = ROWS[goal.name]
        if reasons := [self.broken[name] for name in (ours, theirs) if name in self.broken]:
            return Result(goal, reason=reasons[0])
        sides = [[one[name] for one in self.rounds[1:]] for name in (ours, theirs)]
        return Result(goal, ratios(*(reversed(sides) if goal.faster else sides)))


@contextmanager
def standing() -> Iterator[Storms]:
    with ExitStack() as stack:
        receivers = {}
        for side, port in PORTS.items():
            name = database.build(f"bulkhead_bench_intake_{side}")
            admin = psycopg.connect(database.admin_url(name), autocommit=True)
            stack.enter_context(admin)
            if side == "orm":
                admin.execute(PEER)
            command = [sys.executable, "-m", "tests.bench.receiver", side, str(port)]
            env = {"DATABASE_URL": database.admin_url(name)}
            server = stack.enter_context(serving(f"intake-{side}", port, command, env))
            receivers[side] = Receiver(side, server, admin)
        yield Storms(receivers)


def measure(rounds: int, chance: Random, say: Callable[[str], None]) -> Storms:
    """One round more than asked for, and the first one dropped."""
    with standing() as storms:
        for number in range(rounds + 1):
            began = time.monotonic()
            storms.a_round(chance)
            took = f"{time.monotonic() - began:.0f} s"
            say(f"intake: round {number} of {rounds}, {took}" if number else f"intake: warm, {took}")
        try:
            say(
                f"intake: killed after {storms.receivers['ours'].killed(chance)} acknowledged events, none lost"
            )
        except Broken as problem:
            storms.broken |= dict.fromkeys(("calm", "storm", "storm@90"), str(problem))
    return storms
