"""How much a decision costs: the product's own against the least that could answer, and against engines for it.

Ours is `decide` on compiled rights with every check there is; `bare3` looks a tenant up and asks two frozensets, so it
knows permission and entitlement and nothing of limits. CPU time, in shuffled order, all sides with the same requests of
uniformly drawn tenants. The engines live in the peers' environment and know role, plan and billing status; ours is
asked about the same tenants there. A trace is asked for again, when the lines that do not depend on the person are kept,
and for the first time. Controls: a decision that builds its lines as dataclasses each time, and traces whose sentences
are all written out.
"""

import asyncio
import gc
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from typing import IO, Any

from shared.access.actions import ACTIONS, Action
from shared.access.decision import Decision, decide
from shared.access.refusal_codes import Reason
from shared.core import db
from shared.entitlements import explain
from shared.entitlements.catalog import FALLBACK_PLAN_KEY, Catalog
from shared.entitlements.entitlement_chains import Entitlements
from shared.entitlements.evaluate import (
    AccessSubject,
    DecisionTrace,
    Layer,
    TenantLayers,
    trace_decision,
)
from shared.entitlements.flag_evaluation import RuleProvider
from tests.bench import databases, environment
from tests.bench.broken import Broken, reason, with_last_line
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.rows import Result, counted, ratios
from tests.bench.servers import ROOT
from tests.bench.tenants import Population, Request, catalogue, many_actions, populate

Granted = dict[int, frozenset[str]]

GROWING = "casbin-fast@100k"
SAID = "decision/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Numbers of tenants by place of a row, and of requests of a side in a round; `checked`: answers of them."""

    tenants: Mapping[str, int]
    asked: int
    traced: int
    checked: int
    engines: Mapping[str, int]


FULL = Size(
    tenants={"": 1_000, "@10": 10, "@10k": 10_000, "@100k": 100_000},
    asked=40_000,
    traced=4_000,
    checked=500,
    engines={"casbin": 150, "casbin-fast": 1_500, "cedar": 1_000, "openfeature": 5_000},
)
TINY = Size(
    tenants={"": 20, "@10": 10, "@10k": 30, "@100k": 40},
    asked=1_000,
    traced=100,
    checked=50,
    engines=dict.fromkeys(FULL.engines, 20),
)


@dataclass(frozen=True, slots=True)
class Side:
    """`run` answers all requests and keeps nothing; `allows` answers one. `asked`: requests of a round; 0 is all."""

    run: Callable[[Sequence[Request]], None]
    allows: Callable[[Request], bool]
    people: Population
    size: int
    asked: int = 0
    counts: bool = True  # knows of limits

    def cost(self, requests: Sequence[Request], checked: int) -> float:
        """CPU nanoseconds of one request; the first tenth warms up. Raises Broken for a wrong answer."""
        self._check(requests[:checked])
        requests = requests[: self.asked or None]
        warm = len(requests) // 10
        self.run(requests[:warm])
        timed = requests[warm:]
        began = time.process_time_ns()
        self.run(timed)
        spent = time.process_time_ns() - began
        self._check(requests[-checked:])
        return spent / len(timed)

    def _check(self, requests: Sequence[Request]) -> None:
        for request in requests:
            question = request if self.counts else request._replace(used=None)
            if self.allows(question) != self.people.allows(question):
                raise Broken(f"a wrong answer about {request.action.name} of {request.tenant_id}")


@dataclass(frozen=True)
class Said:
    """A line of the control."""

    layer: str
    asked: str
    value: object
    passes: bool


def build_bulkhead_side(people: Population, size: int) -> Side:
    askers = people.askers

    def run(requests: Sequence[Request]) -> None:
        for tenant_id, action, used in requests:
            decide(askers[tenant_id], action, used=used)

    return Side(
        run, lambda request: decide(askers[request[0]], request[1], used=request[2]).allowed, people, size
    )


def bare3(
    people: Population, size: int, tenants: Mapping[str, tuple[frozenset[str], int]], granted: Granted
) -> Side:
    """Two dictionaries, two frozensets."""

    def ask(tenant_id: str, action: Action) -> bool:
        permissions, plan = tenants[tenant_id]
        return action.permission in permissions and action.name in granted[plan]

    def run(requests: Sequence[Request]) -> None:
        for tenant_id, action, _ in requests:
            ask(tenant_id, action)

    return Side(run, lambda request: ask(request[0], request[1]), people, size, counts=False)


def dataclasses(people: Population, size: int) -> Side:
    """A control: five lines and a decision, made anew for every question."""
    askers = people.askers

    def ask(tenant_id: str, action: Action, used: int | None) -> Decision:
        asker = askers[tenant_id]
        rights, decision = asker.rights, decide(asker, action, used=used)
        lines = [
            Said("permission", action.name, action.permission, action.permission in asker.permissions),
            Said(
                "billing", action.name, rights.billing_status, decision.reason is not Reason.BILLING_READ_ONLY
            ),
            Said("plan", action.name, action.feature, decision.reason is not Reason.NOT_IN_PLAN),
            Said("flag", action.name, action.flag, decision.reason is not Reason.FLAG_OFF),
            Said("limit", action.name, action.limit, decision.reason is not Reason.LIMIT_REACHED),
        ]
        return Decision(decision.allowed and all(line.passes for line in lines), decision.reason)

    def run(requests: Sequence[Request]) -> None:
        for tenant_id, action, used in requests:
            ask(tenant_id, action, used)

    return Side(run, lambda request: ask(*request).allowed, people, size)


def traced(people: Population, size: int, *, asked: int, read: bool, again: bool) -> Side:
    """Decision and every layer with what it asked, its verdict and the row it came from. `read`: its sentences too.

    `again`: the lines that do not depend on the person are kept, as among the cached rights.
    """
    catalog, provider = people.catalogue, RuleProvider(people.catalogue)
    standings = {
        tenant_id: AccessSubject(
            "Ann",
            people.roles[tenant_id],
            people.askers[tenant_id].permissions,
            f"mem_{tenant_id}",
            people.states[tenant_id],
            f"tsc_{tenant_id}",
        )
        for tenant_id in people.facts
    }

    def layers_of(tenant_id: str) -> TenantLayers:
        return TenantLayers(Entitlements(people.facts[tenant_id], catalog), provider)

    kept = {tenant_id: layers_of(tenant_id) for tenant_id in people.facts} if again else {}
    for tenant_id, tenant in kept.items():
        for action in ACTIONS.values():
            trace_decision(action, standings[tenant_id], tenant)

    def ask(tenant_id: str, action: Action, used: int | None) -> DecisionTrace:
        tenant = kept[tenant_id] if again else layers_of(tenant_id)
        return trace_decision(action, standings[tenant_id], tenant, used)

    def run(requests: Sequence[Request]) -> None:
        for tenant_id, action, used in requests:
            ask(tenant_id, action, used)

    def run_and_read(requests: Sequence[Request]) -> None:
        for tenant_id, action, used in requests:
            trace = ask(tenant_id, action, used)
            for line in trace.lines:
                _ = explain.describe_question(line, trace.inputs), explain.describe_line(line, trace.inputs)

    def allows(request: Request) -> bool:
        trace = ask(*request)
        assert len(trace.lines) == len(Layer)
        return trace.decision.allowed

    return Side(run_and_read if read else run, allows, people, size, asked)


class Engines:
    """The peers' process."""

    def __init__(
        self, people: Population, size: int, process: "subprocess.Popen[str]", errors: IO[bytes]
    ) -> None:
        self.people, self.size, self._process, self._errors = people, size, process, errors
        columns = ("permission", "feature", "writes", "allowed_when_unpaid")
        tenants = list(people.askers.items())[:size]
        self._say(
            roles={role: sorted(held) for role, held in people.held.items()},
            actions={
                name: {column: getattr(action, column) for column in columns}
                for name, action in ACTIONS.items()
            },
            plans={offer.key: sorted(offer.features) for offer in people.catalogue.offers.values()},
            tenants={
                # Who does not pay has what the fallback gives, which every plan contains: told once, asked often.
                tenant_id: (
                    people.roles[tenant_id],
                    FALLBACK_PLAN_KEY if asker.rights.billing_status == "none" else asker.rights.plan,
                    asker.rights.billing_status,
                )
                for tenant_id, asker in tenants
            },
        )

    def cost(self, engine: str, requests: Sequence[Request]) -> float:
        """CPU nanoseconds of one request. Every answer is checked; raises Broken for a wrong one."""
        self._say(engine=engine, requests=[(request.tenant_id, request.action.name) for request in requests])
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Broken(with_last_line(f"{engine}: its process has ended", self._errors))
        answer = json.loads(line)
        if "problem" in answer:
            raise Broken(f"{engine}: {answer['problem']}")
        for request, allowed in zip(requests, answer["answers"], strict=True):
            if allowed != self.people.allows(request._replace(used=None)):
                raise Broken(f"{engine}: a wrong answer about {request.action.name} of {request.tenant_id}")
        return float(answer["cpu"])

    def _say(self, **words: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Broken(with_last_line("the process of the engines has ended", self._errors)) from None


@contextmanager
def engines(people: Population, size: int) -> Iterator[Engines]:
    command = [environment.python(), "-m", "tests.bench.peers.deciders"]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=errors, text=True) as process,
    ):
        try:
            yield Engines(people, size, process, errors)
        finally:
            process.terminate()


def sides(mixed: Population, same: Population, size: Size) -> dict[str, Side]:
    tenants, granted = _least(mixed)
    sides = {}
    for place, number in size.tenants.items():
        sides |= {
            f"ours{place}": build_bulkhead_side(mixed, number),
            f"bare3{place}": bare3(mixed, number, tenants, granted),
            f"dataclass{place}": dataclasses(mixed, number),
        }
    for place in ("", "@100k"):
        sides |= {f"ours-same{place}": build_bulkhead_side(same, size.tenants[place])}
        sides |= {f"dataclass-same{place}": dataclasses(same, size.tenants[place])}
    number = size.tenants[""]
    for suffix, again in (("", True), ("-first", False)):
        trace, sentences = [
            traced(mixed, number, asked=size.traced, read=read, again=again) for read in (False, True)
        ]
        sides |= {f"trace{suffix}": trace, f"sentences{suffix}": sentences}
    return sides


def _least(people: Population) -> tuple[dict[str, tuple[frozenset[str], int]], Granted]:
    """What is granted to a tenant with the same rights, whoever asks and however much is used: by the oracle."""
    every, granted, tenants = frozenset(action.permission for action in ACTIONS.values()), {}, {}
    for tenant_id, asker in people.askers.items():
        plan = id(asker.rights)
        if plan not in granted:
            asked = [Request(tenant_id, action, None) for action in ACTIONS.values()]
            granted[plan] = frozenset(
                request.action.name for request in asked if people.allows(request, every)
            )
        tenants[tenant_id] = asker.permissions, plan
    return tenants, granted


class Decisions:
    """What every side cost, by round; a side that is wrong or does not answer is out from then on.

    `engines`: the peers that are asked. Where there are none, the figure of each is 1.
    """

    def __init__(self, all_sides: Mapping[str, Side], engines: Mapping[str, Engines], size: Size) -> None:
        self._sides, self._engines, self._size = all_sides, engines, size
        self.rounds: list[dict[str, float]] = []
        self.broken: dict[str, str] = {}

    def a_round(self, chance: Random) -> None:
        drawn: dict[tuple[int, int], list[Request]] = {}
        costs = {} if self._engines else dict.fromkeys((*self._size.engines, GROWING), 1.0)
        names = [*self._sides, *self._engines]
        for name in chance.sample(names, len(names)):
            asked = self._sides.get(name) or self._engines[name]
            key = id(asked.people), asked.size
            if key not in drawn:
                drawn[key] = asked.people.requests(chance, self._size.asked, asked.size)
            try:
                if name not in self.broken:
                    costs[name] = self._cost(name, drawn[key])
            except Exception as problem:
                self.broken[name] = reason(problem)
        self.rounds.append(costs)

    def _cost(self, name: str, requests: Sequence[Request]) -> float:
        if name in self._sides:
            return self._sides[name].cost(requests, self._size.checked)
        engine = name.partition("@")[0]
        return self._engines[name].cost(engine, requests[: self._size.engines[engine]])

    def result(self, goal: Goal) -> Result:
        above, below = _compared(goal)
        for name in (above, below):
            if name in self.broken:
                return Result(goal, reason=self.broken[name])
        sides = [[costs[name] for costs in counted(self.rounds)] for name in (above, below)]
        return Result(goal, ratios(*sides))


def _compared(goal: Goal) -> tuple[str, str]:
    """The sides whose ratio the row is."""
    name, control = (goal.control_of or goal.name).removeprefix(SAID), bool(goal.control_of)
    row, at, size = name.partition("@")
    if row == "bare3":
        return f"{'dataclass' if control else 'ours'}{at}{size}", name
    if row.startswith("trace"):
        return row.replace("trace", "sentences") if control else row, "ours"
    return name, f"{'dataclass' if control else 'ours'}-same{at}{size}"


async def _catalogue() -> Catalog:
    try:
        return await catalogue()
    finally:
        await db.dispose()


def measure(options: Options) -> Decisions:
    size, chance = TINY if options.tiny else FULL, options.chance()
    with databases.built("decisions"), ExitStack() as stack:
        catalog = asyncio.run(_catalogue())
        stack.enter_context(many_actions())
        most = max(size.tenants.values())
        mixed, same = [populate(chance, catalog, most, same=uniform) for uniform in (False, True)]
        options.say(
            f"decisions: {len({id(asker.rights) for asker in mixed.askers.values()})} different rights"
        )
        asked, broken = dict[str, Engines](), dict[str, str]()
        if options.peers:
            try:
                small, large = [
                    stack.enter_context(engines(same, size.tenants[suffix])) for suffix in ("", "@100k")
                ]
                asked = dict.fromkeys(size.engines, small) | {GROWING: large}
            except (Broken, OSError) as problem:
                broken = dict.fromkeys((*size.engines, GROWING), reason(problem))
        measured = Decisions(sides(mixed, same, size), asked, size)
        measured.broken |= broken
        gc.collect()
        gc.freeze()
        stack.callback(gc.unfreeze)
        for _ in options.numbered("decisions"):
            measured.a_round(chance)
    return measured
