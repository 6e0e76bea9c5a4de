"""Pages in a database of 10,000 tenants, compared with one of 100: the statements that the product sends for a page.

Each tenant has 20 members, 130 audit events and its steps of provisioning, so the larger database has 200,000 memberships
and 1.3 million events. Figures are p95 of a round. Both are asked in turn for the first page of each list; what is timed are its statements and their rows. The controls send the
same statements to the larger database without its indexes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import psycopg
from sqlalchemy import event

from shared.audit.audit_filter import AuditFilter
from shared.backoffice import tenant_directory, tenant_timeline
from shared.backoffice.reasons import Reason, state_reason
from shared.core import db
from shared.core.context import Ctx, OperatorCtx
from shared.tenancy import audit_reader, entry, members, provisioning
from tests.bench import databases
from tests.bench.broken import Broken
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.rows import Result, counted, p95, ratios, without_warm_up
from tests.support import database, factories

REASON = "Growth of the lists"
TENANT_ID = "ten_g7"
FILL = (
    """
    insert into tenant (id, slug, name, state, created_at)
    select 'ten_g' || n, 'growth-' || n, 'Growth ' || n, 'active', now() - n * interval '1 hour'
    from generate_series(1, %(tenants)s) as n
    """,
    """
    insert into role (tenant_id, id, key, name, builtin)
    select t.id, 'rol_' || key, key, key, true from tenant t, unnest(array['owner', 'member']) as key
    """,
    """
    insert into "user" (id, email, name)
    select 'usr_g' || n || '_' || m, 'person' || m || '@growth' || n || '.test', 'Person ' || m || ' of ' || n
    from generate_series(1, %(tenants)s) as n, generate_series(1, %(members)s) as m
    """,
    """
    insert into membership (tenant_id, id, user_id, role, state, name_key, search_text)
    select 'ten_g' || n, 'mem_g' || n || '_' || m, 'usr_g' || n || '_' || m,
           case when m = 1 then 'owner' else 'member' end, 'active', 'person ' || m || ' of ' || n,
           'person ' || m || ' of ' || n || ' person' || m || '@growth' || n || '.test'
    from generate_series(1, %(tenants)s) as n, generate_series(1, %(members)s) as m
    """,
    """
    insert into provisioning_step (tenant_id, id, key, position, state, finished_at)
    select 'ten_g' || n, 'stp_g' || n || '_' || key, key, position, 'done', now()
    from generate_series(1, %(tenants)s) as n, unnest(%(steps)s::text[]) with ordinality as step(key, position)
    """,
    """
    insert into audit_event (tenant_id, id, at, actor_type, actor_id, actor_name, impersonator_id, action, object_id,
        reason, before, after, details, request_id, hash, format, transaction_id)
    select 'ten_g' || n, 'aud_g' || n || '_' || e, now() - (e * 1000 + n) * interval '1 second', 'user',
           'usr_g' || n || '_' || e %% %(members)s + 1, 'Person ' || e %% %(members)s + 1 || ' of ' || n, '',
           (array['membership.role_changed', 'invitation.created', 'settings.changed'])[e %% 3 + 1], 'object', '', '{}', '{}',
           '{}', 'req_g' || n || '_' || e, '\\x00', 2, e
    from generate_series(1, %(tenants)s) as n, generate_series(1, %(events)s) as e
    """,
)
WITHOUT_INDEXES = (
    "-c enable_indexscan=off -c enable_bitmapscan=off -c enable_indexonlyscan=off -c statement_timeout=0"
)
OF_OPERATORS: dict[str, Callable[[OperatorCtx], Awaitable[object]]] = {
    "tenants": lambda octx: tenant_directory.search_tenants(octx),
    "newest-tenants": lambda octx: tenant_directory.search_tenants(octx, sort="created_at", descending=True),
    "tenants-of-user": lambda octx: tenant_directory.search_tenants(octx, "person3@growth7.test"),
    "tenant-search": lambda octx: tenant_directory.search_tenants(octx, "wth 77"),  # 1 of 100, 111 of 10,000
    "audit-all-tenants": lambda octx: list_all_events(octx, AuditFilter()),
    "request-events": lambda octx: list_all_events(octx, AuditFilter(request_id="req_g7_3")),
    "overview": lambda octx: tenant_directory.get_overview(octx),
}
# Of one tenant, for operators: they enter it with a reason.
OF_VISITORS: dict[str, Callable[[OperatorCtx], Awaitable[object]]] = {
    "timeline": lambda octx: tenant_timeline.list_timeline(octx, TENANT_ID, state_visit(octx)),
    "visitors-audit": lambda octx: tenant_directory.list_events(octx, TENANT_ID, state_visit(octx)),
}
OF_A_TENANT: Mapping[str, Callable[[Ctx], Awaitable[object]]] = {
    "members": lambda ctx: members.list_members(ctx),
    "member-search": lambda ctx: members.list_members(ctx, query="person 3 of"),
    "audit": lambda ctx: audit_reader.list_events(ctx),
    "audit-search": lambda ctx: audit_reader.list_events(ctx, AuditFilter(actor="Person 3")),
}
LISTS = (*OF_OPERATORS, *OF_VISITORS, *OF_A_TENANT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """`samples`: of each list and database in a round; `slow_samples`: of a control."""

    small: int
    large: int
    members: int
    events: int
    samples: int
    slow_samples: int


FULL = Size(small=100, large=10_000, members=20, events=130, samples=30, slow_samples=2)
TINY = Size(small=10, large=20, members=3, events=6, samples=3, slow_samples=2)


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    values: Any


@dataclass(frozen=True, slots=True)
class Side:
    """A database, and what the product sends to it for each list. The connections are the roles of the apps."""

    statements: Mapping[str, Sequence[Statement]]
    operator: psycopg.Connection
    app: psycopg.Connection
    scan_operator: psycopg.Connection  # without indexes
    scan_app: psycopg.Connection

    def ask(self, name: str, *, scans: bool = False) -> float:
        """Milliseconds for the page. `scans`: without indexes. Raises Broken for an empty page."""
        operator, app = (self.scan_operator, self.scan_app) if scans else (self.operator, self.app)
        connection = app if name in OF_A_TENANT else operator
        setting, value = (
            ("app.cross_tenant_reason", REASON) if name in OF_OPERATORS else ("app.tenant_id", TENANT_ID)
        )
        with connection.transaction():
            connection.execute("select set_config(%s, %s, true)", [setting, value])
            began = time.perf_counter()
            rows = [
                connection.execute(statement.text, statement.values).fetchall()
                for statement in self.statements[name]
            ]
            took = time.perf_counter() - began
        if not any(rows):
            raise Broken(f"the list {name} is empty")
        return took * 1_000


def state_visit(octx: OperatorCtx) -> Reason:
    return state_reason(octx, REASON, tenant_id=TENANT_ID)


async def list_all_events(octx: OperatorCtx, criteria: AuditFilter) -> object:
    return await tenant_directory.list_all_events(octx, state_reason(octx, REASON), criteria)


@dataclass
class GrowthTimings:
    """p95 in milliseconds of every list, by round: `name`, `name-small` and `name-scan`."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def result(self, goal: Goal) -> Result:
        name = (goal.control_of or goal.name).removeprefix("growth/")
        ours = f"{name}-scan" if goal.control_of else name
        timings = counted(self.rounds)
        return Result(
            goal, ratios([each[ours] for each in timings], [each[f"{name}-small"] for each in timings])
        )


def measure(options: Options) -> GrowthTimings:
    size, timings = TINY if options.tiny else FULL, GrowthTimings()
    with ExitStack() as stack:
        small = stack.enter_context(open_side("growth_small", size, size.small))
        large = stack.enter_context(open_side("growth_large", size, size.large))
        for _ in options.numbered("growth"):
            timings.rounds.append(_measure_round(size, small, large))
    return timings


@contextmanager
def open_side(part: str, size: Size, tenants: int) -> Iterator[Side]:
    with ExitStack() as stack:
        name = stack.enter_context(databases.built(part))
        database.do_not_wait_for_disk(name)
        _fill(name, size, tenants)
        statements = asyncio.run(_hear_statements())
        connections = [
            stack.enter_context(psycopg.connect(db.login_url(role), autocommit=True, options=options))
            for options in ("", WITHOUT_INDEXES)
            for role in ("operator", "app")
        ]
        yield Side(statements, *connections)


def _fill(name: str, size: Size, tenants: int) -> None:
    steps = [step.key for step in provisioning.STEPS]
    values = {"tenants": tenants, "members": size.members, "events": size.events, "steps": steps}
    with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
        connection.execute(
            "set session_replication_role = replica"
        )  # rows to be read, not acts to be believed
        for statement in FILL:
            connection.execute(statement.encode(), values if "%(" in statement else None)
        connection.execute("vacuum analyze")


async def _hear_statements() -> dict[str, list[Statement]]:
    """What the product sends for each list, by name. The settings point at the database."""
    olga = await factories.create_operator("Olga")
    heard: list[Statement] = []

    def hear(_: Any, __: Any, text: str, values: Any, *___: Any) -> None:
        if text.startswith("SELECT") and "set_config" not in text:
            heard.append(Statement(text, values))

    engines = [db.engine(role).sync_engine for role in ("operator", "app")]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", hear)
    statements: dict[str, list[Statement]] = {}
    try:
        for name, list_page in (OF_OPERATORS | OF_VISITORS).items():
            async with entry.enter_operator(olga) as octx:
                heard.clear()
                await list_page(octx)
                statements[name] = list(heard)
        for name, list_page_of_tenant in OF_A_TENANT.items():
            async with entry.enter_job(TENANT_ID, "bench", "bench") as ctx:
                heard.clear()
                await list_page_of_tenant(ctx)
                statements[name] = list(heard)
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", hear)
        await db.dispose()
    return statements


def _measure_round(size: Size, small: Side, large: Side) -> dict[str, float]:
    timings: dict[str, float] = {}
    for name in LISTS:
        samples: dict[str, list[float]] = {name: [], f"{name}-small": []}
        for _ in range(size.samples):
            samples[name].append(large.ask(name))
            samples[f"{name}-small"].append(small.ask(name))
        timings |= {key: p95(without_warm_up(times)) for key, times in samples.items()}
    for name in LISTS:
        slow_samples = [large.ask(name, scans=True) for _ in range(size.slow_samples)]
        timings[f"{name}-scan"] = median(without_warm_up(slow_samples))
    return timings
