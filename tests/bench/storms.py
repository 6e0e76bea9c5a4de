"""What a webhook costs from the wire to the commit: of ours, of doing nothing, and of what is usually done.

CPU time of the server's process and of its database's backends, from the scheduler's own nanoseconds; each side has a
process and a database of its own on one server, the same bodies, the same 32 connections and the same durability. In a
tiny run all sides share a process and a database. A calm round is of genuine events only, each once; a storm is half duplicates in any order, and a tenth of it is forged.
Before and after timing every answer is counted, and what is stored is compared with what was sent, event by event. At
the end ours is killed half-way through a storm: what it had acknowledged has to be there.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

import psycopg

from shared.billing.accounts import WEBHOOK_PATH
from shared.core.config import DEMO_STRIPE_SECRET
from shared.core.ids import new_id
from tests.bench import databases
from tests.bench.broken import Broken, reason
from tests.bench.envelopes import subscription
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.rows import Result, counted, ratios
from tests.bench.servers import Server, free_port, serving
from tests.support import database
from tests.support.billing.webhooks import build_signature

BODY = 4_096  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """`requests`: of a turn. `killed_in`, `killed_after`: requests of the last storm, and how many are answered."""

    connections: int
    requests: Mapping[str, int]
    killed_in: int
    killed_after: int


# Turns of a round and whose they are. `calm` and the storms are all of ours.
TURNS = {name: name for name in ("noop", "edge", "bare", "sdk", "orm")}
TURNS |= dict.fromkeys(("calm", "storm", "storm@90"), "ours") | {"single-storm": "single"}
FULL = Size(
    connections=32,
    requests=dict.fromkeys(TURNS, 2_000) | {"noop": 3_000, "sdk": 600, "orm": 300, "single-storm": 1_000},
    killed_in=4_000,
    killed_after=1_500,
)
TINY = Size(connections=4, requests=dict.fromkeys(TURNS, 40), killed_in=100, killed_after=20)
DUPLICATES, FORGED = {"storm": 0.5, "storm@90": 0.9, "single-storm": 0.5}, 0.1
PORTS = {"ours": 3310, "noop": 3311, "single": 3312, "sdk": 3313, "orm": 3314, "edge": 3315, "bare": 3316}
TABLES = dict.fromkeys(("ours", "single", "sdk", "bare"), "inbound_webhook") | {"orm": "peer_inbox"}
ALL = "all"  # sides in one process, each below a path of its own
PEER = """
create table peer_inbox (like inbound_webhook including all);
grant select, insert on peer_inbox to bulkhead_app
"""
ROWS = {  # ours, and what it is compared with; in rows that are faster the other way round
    "intake/bare": ("calm", "bare"),
    "intake/bare!orm": ("orm", "bare"),
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


def wire(path: str, event_id: str, *, genuine: bool = True) -> Sent:
    body = subscription(BODY, event_id)
    signed = build_signature(body, DEMO_STRIPE_SECRET if genuine else "whsec_of_somebody_else")
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\naccept: */*; q=0.5, application/xml\r\n"
        "user-agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\ncontent-type: application/json; charset=utf-8\r\n"
        f"stripe-signature: {signed}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return Sent(head.encode() + body, event_id, genuine)


def drawn(path: str, number: int, duplicates: float, forged: float, chance: Random) -> list[Sent]:
    """So many requests in any order, that share of the genuine ones a second or further time."""
    false = int(number * forged)
    once = int((number - false) * (1 - duplicates))
    first = [wire(path, new_id("evt")) for _ in range(once)]
    again = [chance.choice(first) for _ in range(number - false - once)]
    wrong = [wire(path, new_id("evt"), genuine=False) for _ in range(false)]
    return chance.sample([*first, *again, *wrong], number)


async def post_all(
    port: int, connections: int, requests: Sequence[Sent], answered: list[tuple[Sent, int]]
) -> None:
    """Over a few connections that stay open. Ends early when the server goes away."""
    queue = iter(requests)

    async def post() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for sent in queue:
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

    await asyncio.gather(*(post() for _ in range(connections)))


def spent_by(pid: int) -> int:
    """Nanoseconds on a processor so far, of all its threads."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks)


@dataclass
class Receiver:
    """A side's server and database, and the path at which it takes webhooks."""

    side: str
    path: str
    server: Server
    admin: psycopg.Connection
    size: Size

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
        self._post(requests[:warm], answered)
        began = self.spent()
        self._post(requests[warm:], answered)
        spent = self.spent() - began
        self._check(requests, answered)
        self.server.require_ours()
        return spent / 1_000 / (len(requests) - warm)

    def _post(self, requests: Sequence[Sent], answered: list[tuple[Sent, int]]) -> None:
        asyncio.run(post_all(self.server.port, self.size.connections, requests, answered))

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
        size, answered = self.size, list[tuple[Sent, int]]()
        requests = drawn(self.path, size.killed_in, 0.5, FORGED, chance)

        async def run() -> None:
            posting = asyncio.create_task(post_all(self.server.port, size.connections, requests, answered))
            while len(answered) < size.killed_after and not posting.done():  # noqa: ASYNC110  it is no event of ours
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
    size: Size
    rounds: list[dict[str, float]] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    def a_round(self, chance: Random) -> None:
        costs = {}
        for name in chance.sample(list(TURNS), len(TURNS)):
            receiver, duplicates = self.receivers[TURNS[name]], DUPLICATES.get(name, 0)
            forged = FORGED if name in DUPLICATES else 0
            requests = drawn(receiver.path, self.size.requests[name], duplicates, forged, chance)
            try:
                if name not in self.broken:
                    costs[name] = receiver.cost(requests)
            except Exception as problem:
                self.broken[name] = reason(problem)
        self.rounds.append(costs)

    def result(self, goal: Goal) -> Result:
        our_side, peer_side = ROWS[goal.name]
        if reasons := [self.broken[name] for name in (our_side, peer_side) if name in self.broken]:
            return Result(goal, reason=reasons[0])
        sides = [[costs[name] for costs in counted(self.rounds)] for name in (our_side, peer_side)]
        return Result(goal, ratios(*(reversed(sides) if goal.faster else sides)))

    def medians(self) -> str:
        """CPU microseconds of a request by turn, also of those that no row is about."""
        costs = {
            name: [round_costs[name] for round_costs in counted(self.rounds)]
            for name in TURNS
            if name not in self.broken
        }
        return ", ".join(f"{name} {median(values):.0f}" for name, values in costs.items())


@contextmanager
def standing(size: Size, *, together: bool) -> Iterator[dict[str, Receiver]]:
    """`together`: all sides in one process over one database."""
    with ExitStack() as stack:

        def start(name: str, port: int) -> tuple[Server, psycopg.Connection]:
            made = stack.enter_context(databases.built(f"intake_{name}"))
            admin = stack.enter_context(psycopg.connect(database.admin_url(made), autocommit=True))
            admin.execute(PEER)
            command = [sys.executable, "-m", "tests.bench.receiver", name, str(port)]
            env = {"DATABASE_URL": database.admin_url(made)}
            return stack.enter_context(serving(f"intake-{name}", port, command, env)), admin

        if together:
            server, admin = start(ALL, free_port())
            yield {side: Receiver(side, f"/{side}{WEBHOOK_PATH}", server, admin, size) for side in PORTS}
        else:
            yield {
                side: Receiver(side, WEBHOOK_PATH, *start(side, port), size) for side, port in PORTS.items()
            }


def measure(options: Options) -> Storms:
    size, chance = TINY if options.tiny else FULL, options.chance()
    with standing(size, together=options.tiny) as receivers:
        storms = Storms(receivers, size)
        for _ in options.numbered("intake"):
            storms.a_round(chance)
        options.say(f"intake: medians in µs: {storms.medians()}")
        try:
            acknowledged = receivers["ours"].killed(chance)
            options.say(f"intake: killed after {acknowledged} acknowledged events, none lost")
        except Exception as problem:
            storms.broken |= dict.fromkeys(("calm", "storm", "storm@90"), reason(problem))
    return storms
