"""Workers that die by kill -9 at every step, and a database that does: nothing is lost, nothing happens twice.

`python -m tests.billing.kills --seeds 20 --postgres` starts a server of its own, which is killed too. Eight workers
settle the webhooks of a few tenants, whose subscriptions change all the time; webhooks come twice, late, in another
order or never. Workers kill themselves between any two steps, and are killed from outside. In the end every webhook
is done and told once at most, and every tenant may use what the provider's truth gives.
"""

import argparse
import asyncio
import importlib
import multiprocessing
import os
import pickle
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from shared.billing.provider import CustomerState
from tests.billing import histories, truth

TENANTS, OPERATIONS, WORKERS, AT_ONCE = 4, 60, 8, 2
LEASE = timedelta(seconds=1)
LONGEST = 120.0  # seconds until all is settled
PLANS = {truth.BASIC: "starter", truth.PLUS: "pro", truth.SEATED: "business", truth.EXTRA: "extra_seats"}
PRELOADED = ("shared.billing.inbox", "tests.factories", "tests.billing.held", "tests.billing.seller")
FORK = multiprocessing.get_context("fork")


class Points(NamedTuple):
    """Where a worker kills itself: after this was done, before anything else is."""

    module: str
    name: str


POINTS = (
    Points("shared.billing.inbox_repository", "claim"),  # not yet committed
    Points("shared.billing.inbox_repository", "place"),  # claimed, nothing else
    Points("shared.billing.inbox_repository", "ticket"),
    Points(__name__, "_read"),  # fetched
    Points("shared.billing.inbox_repository", "done"),  # marked, not committed
    Points("shared.billing.inbox_repository", "pass_guard"),
    Points("shared.billing.mirror", "write"),
    Points("shared.entitlements.subscribed", "follow"),
    Points("shared.billing.apply", "write"),  # all of it, not committed
    Points("shared.billing.sync", "look"),  # committed
)


@dataclass
class Counts:
    webhooks: int = 0
    deliveries: int = 0
    workers: Counter[str] | None = None
    servers: int = 0


class Files:
    """The provider as all processes see it: a file for every customer."""

    def __init__(self, directory: Path, seed: int = 0) -> None:
        self.directory, self.dice = directory, random.Random(seed)

    async def create_customer(self, tenant_id: str, name: str, email: str, key: str) -> str:
        return f"cus_{tenant_id[4:]}"

    async def fetch(self, customer_id: str) -> CustomerState:
        state = await _read(self.directory / customer_id)
        await asyncio.sleep(self.dice.choice((0, 0.005, 0.03)))
        return state

    def say(self, state: CustomerState) -> None:
        draft = self.directory / f"{state.id}.draft"
        draft.write_bytes(pickle.dumps(state))
        draft.rename(self.directory / state.id)


async def _read(path: Path) -> CustomerState:
    return _load(path)


def _load(path: Path) -> CustomerState:
    state: CustomerState = pickle.loads(path.read_bytes())
    return state


# ── a worker ─────────────────────────────────────────────────────────────────────────────────────────────────────


def work(directory: Path, seed: int, death: Points | None, control: bool) -> None:
    from shared.billing import inbox

    _begin(directory, seed)
    inbox.LEASE, inbox.NAP = LEASE, 0.05
    inbox.DEATHS = 1_000  # so many on so few customers are no sign of poison here
    if control:
        _mark_before_the_work()
    if death is not None:
        _plant(death, random.Random(seed).randint(1, 3))
    asyncio.run(inbox.run(AT_ONCE))


def _mark_before_the_work() -> None:
    """What must be noticed: it is done when it is taken, in a transaction of its own."""
    from shared.billing import inbox_repository, sync
    from shared.core import db

    was = sync.look

    async def look(*given: Any, work: inbox_repository.Claimed, **more: Any) -> Any:
        async with db.transaction() as session:
            await inbox_repository.done(session, work)
        return await was(*given, **more)

    sync.look = look  # type: ignore[assignment]


def _begin(directory: Path, seed: int = 0) -> None:
    """In a process that was forked: nothing of its parent's is open here."""
    from shared.billing import providers
    from shared.billing.models import PLATFORM
    from shared.core import db, log

    log.configure("CRITICAL")
    db.engine.cache_clear()
    db.url.cache_clear()
    providers.use(PLATFORM, Files(directory, seed))  # type: ignore[arg-type]


def _plant(death: Points, times: int) -> None:
    module: Any = sys.modules[death.module]
    was: Callable[..., Awaitable[Any]] = getattr(module, death.name)
    left = times

    async def deadly(*given: Any, **more: Any) -> Any:
        nonlocal left
        result = await was(*given, **more)
        left -= bool(result)  # a claim that took nothing is no step
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(module, death.name, deadly)


# ── what is done to them ─────────────────────────────────────────────────────────────────────────────────────────


class Run:
    """One seed. `server`: of ours, to be killed too."""

    def __init__(
        self,
        seed: int,
        directory: Path,
        name: str,
        server: Any | None,
        deaths: int,
        operations: int,
        control: bool,
    ) -> None:
        self.seed, self.dice, self.directory, self.name = seed, random.Random(seed), directory, name
        self.server, self.deaths, self.operations, self.control = server, deaths, operations, control
        self.files = Files(directory)
        self.workers: list[tuple[BaseProcess, str]] = []
        self.born = 0
        self.counts = Counts(workers=Counter())
        self.customers: dict[str, str] = {}  # tenant by customer
        self.sellers: dict[str, histories.Seller] = {}
        self.stored: set[str] = set()
        self.forgotten = ""

    def play(self) -> Counts:
        self.customers = in_a_child(_make, self.directory, f"seed {self.seed}")
        self.forgotten = min(self.customers)
        from shared.core.db import now

        at = now().replace(microsecond=0)
        self.sellers = {
            one: histories.Seller(random.Random(f"{self.seed}{one}"), at) for one in self.customers
        }
        for _ in range(WORKERS):
            self.start(healthy=False)
        try:
            held = self.operate()
            self.dice.shuffle(held)
            for customer, event_id in held:
                self.deliver(customer, event_id)
                self.reap(healthy=False)
            self.settle()
        finally:
            for process, _ in self.workers:
                process.kill()
                process.join()
        # Only of one customer webhooks are lost: what is asked for without a webhook would hide what we lost of others.
        in_a_child(_reconcile, self.directory, {self.forgotten: self.customers[self.forgotten]})
        truths = {one: list(self.sellers[one].list_all("cus_1").values()) for one in self.customers}
        in_a_child(_judge, self.directory, (self.customers, truths, sorted(self.stored)))
        return self.counts

    def operate(self) -> list[tuple[str, str]]:
        """What is held back."""
        held = []
        for number in range(self.operations):
            customer = self.dice.choice(sorted(self.customers))
            seller = self.sellers[customer]
            seller.change_one("cus_1")
            known = tuple(seller.list_all("cus_1").values())
            self.files.say(CustomerState(customer, subscriptions=known))
            event_id = f"evt_{self.seed}_{number}_{customer}"
            fate = self.dice.choice(("comes", "comes", "twice", "held", "held", "lost"))
            if fate == "held":
                held.append((customer, event_id))
            elif fate != "lost" or customer != self.forgotten:
                for _ in range(1 + (fate == "twice")):
                    self.deliver(customer, event_id)
            if self.dice.random() < 0.1:
                process, _ = self.dice.choice(self.workers)
                process.kill()
            if self.server is not None and number in (self.operations // 3, 2 * self.operations // 3):
                self.kill_the_server()
            self.reap(healthy=False)
            time.sleep(0.01)
        return held

    def deliver(self, customer: str, event_id: str) -> None:
        """Again and again until it is acknowledged, as the provider does."""
        self.counts.deliveries += 1
        while True:
            with suppress(psycopg.Error):
                with psycopg.connect(self.url(), autocommit=True) as connection:
                    connection.execute(
                        "insert into billing_inbox (account_id, event_id, type, livemode, created_at, customer_id, payload)"
                        " values ('platform', %s, 'customer.subscription.updated', false, now(), %s, '{}')"
                        " on conflict do nothing",
                        [event_id, customer],
                    )
                    connection.execute("select pg_notify('bulkhead_inbox', '')")
                break
            time.sleep(0.05)
        self.stored.add(event_id)
        self.counts.webhooks = len(self.stored)

    def url(self) -> str:
        from tests.database import admin_url

        return admin_url(self.name)

    def kill_the_server(self) -> None:
        pid = self.server._pid()
        os.kill(pid, signal.SIGKILL)
        self.counts.servers += 1
        while self.server._pid() == pid:
            time.sleep(0.02)
        self.server.start()

    def start(self, *, healthy: bool) -> None:
        self.born += 1
        death = None
        if not healthy and self.deaths > 0:
            self.deaths -= 1
            death = POINTS[self.born % len(POINTS)]
        process = FORK.Process(
            target=work, args=(self.directory, self.seed * 1000 + self.born, death, self.control)
        )
        process.start()
        self.workers.append((process, death.name if death else "outside"))

    def reap(self, *, healthy: bool) -> None:
        for worker in [one for one in self.workers if not one[0].is_alive()]:
            process, where = worker
            process.join()
            assert process.exitcode == -signal.SIGKILL, f"a worker ended with {process.exitcode}"
            assert self.counts.workers is not None
            self.counts.workers[where] += 1
            self.workers.remove(worker)
            self.start(healthy=healthy)

    def settle(self) -> None:
        until = time.monotonic() + LONGEST
        while time.monotonic() < until:
            self.reap(healthy=False)
            with psycopg.connect(self.url(), autocommit=True) as connection:
                left = connection.execute(
                    "select status, count(*) from billing_inbox where status not in ('done') group by 1"
                ).fetchall()
                if not left:
                    return
                # What failed while the database was away would wait; here nobody does.
                connection.execute(
                    "update billing_inbox set due_at = now() where status in ('pending', 'parked')"
                )
            time.sleep(0.1)
        raise AssertionError(f"seed {self.seed}: not settled: {left}")


def in_a_child(what: Callable[..., Any], directory: Path, given: Any) -> Any:
    """In a process of its own, so that those who are forked later inherit no event loop and no connection."""
    here, there = FORK.Pipe()

    def run() -> None:
        _begin(directory)
        try:
            there.send((True, asyncio.run(what(directory, given))))
        except BaseException as problem:
            there.send((False, f"{type(problem).__name__}: {problem}"))

    process = FORK.Process(target=run)
    process.start()
    fine, result = here.recv()
    process.join()
    if not fine:
        raise AssertionError(result)
    return result


async def _make(directory: Path, said: str) -> dict[str, str]:
    from shared.billing import customers
    from tests import factories
    from tests.billing import seller

    for price, plan in PLANS.items():
        await seller.price(price, plan, "seat" if price == truth.SEATED else "flat")
    ann, made = await factories.account("Ann"), {}
    for number in range(TENANTS):
        tenant = await factories.tenant(ann, f"{said} {number}")
        customer = await customers.ensure(tenant.id)
        Files(directory).say(CustomerState(customer))
        made[customer] = tenant.id
    return made


async def _reconcile(directory: Path, customers: dict[str, str]) -> None:
    from shared.billing import sync
    from shared.billing.models import PLATFORM

    for customer, tenant_id in customers.items():
        await sync.look(PLATFORM, customer, tenant_id, cause="reconcile")


async def _judge(directory: Path, given: tuple[dict[str, str], dict[str, Any], Sequence[str]]) -> None:
    from sqlalchemy import text

    from shared.audit import trail
    from shared.billing import prices, repository
    from shared.core.db import now
    from shared.tenancy import entry
    from tests.billing.held import GRACE_OF_TESTS, access

    customers, truths, stored = given
    told = Counter[str]()
    for customer, tenant_id in customers.items():
        async with entry.enter_books(tenant_id, "tests.judge") as ctx:
            connection = await ctx.session.connection()

            async def ask(
                statement: str, tenant_id: str = tenant_id, connection: Any = connection
            ) -> list[Any]:
                return list((await connection.execute(text(statement), {"t": tenant_id})).all())

            told.update(
                one
                for row in await ask("select event_ids from billing_event where tenant_id = :t")
                for one in row[0]
            )
            row = await repository.get_standing(ctx)
            should = histories.worked_out({customer: {one.id: one for one in truths[customer]}}, now(), await prices.priced(ctx.session))  # fmt: skip
            assert (row.course or None if row else None) == should, (
                f"{customer}: {row and row.course}, not {should}"
            )
            for at in truth.turns(truths[customer], now() + GRACE_OF_TESTS):
                has, should = await access(ctx, at), truth.access(truths[customer], at)
                assert has == should, f"{customer} at {at}: {has}, should be {should}"
            # One line of the trail for one row, however often its worker died on the way.
            ((written, audited),) = await ask(
                "select (select count(*) from tenant_plan where tenant_id = :t and source <> ''),"
                " (select count(*) from audit_event where tenant_id = :t and action = 'plan.assigned' and actor_type = 'job')"
            )
            assert written == audited, f"{customer}: {written} plans, {audited} lines about them"
            assert (await trail.verify(ctx)).whole, f"{customer}: the trail is broken"
    twice = {one: number for one, number in told.items() if number > 1}
    assert not twice, f"told twice: {twice}"
    assert told.keys() <= set(stored)


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--seeds", type=int, default=20)
    given.add_argument("--first", type=int, default=0)
    given.add_argument("--deaths", type=int, default=40, help="of workers, by their own hand, for each seed")
    given.add_argument("--operations", type=int, default=OPERATIONS)
    given.add_argument("--control", action="store_true", help="marks before the work: this must fail")
    given.add_argument("--postgres", action="store_true", help="a server of our own, which is killed too")
    options = given.parse_args()
    with tempfile.TemporaryDirectory(prefix="bulkhead-kills-") as root:
        if options.postgres:
            os.environ["BULKHEAD_DATA_DIR"] = root
            os.environ.pop("DATABASE_URL", None)
        else:
            os.environ.setdefault("BULKHEAD_DATA_DIR", str(Path(__file__).parents[2] / ".bulkhead" / "test"))
        os.environ.setdefault("BULKHEAD_SANDBOX_URL", "http://localhost:1")
        from shared.core.config import settings
        from shared.core.embedded import EmbeddedPostgres
        from tests import database

        for name in PRELOADED:  # or everybody who is forked imports it anew
            importlib.import_module(name)
        server = EmbeddedPostgres(settings().root / "postgres") if options.postgres else None
        name = database.build(f"{database.MINE}{os.getpid()}_kills")
        files = Path(root) / "customers"
        files.mkdir()
        try:
            for seed in range(options.first, options.first + options.seeds):
                begun = time.monotonic()
                counts = Run(
                    seed, files, name, server, options.deaths, options.operations, options.control
                ).play()
                assert counts.workers is not None
                print(
                    f"seed {seed}: {counts.webhooks} webhooks, {counts.deliveries} deliveries,"
                    f" {counts.workers.total()} workers and {counts.servers} servers killed,"
                    f" 0 lost, 0 twice, {time.monotonic() - begun:.1f} s; {dict(counts.workers)}",
                    flush=True,
                )
        finally:
            if server is None:
                database.drop(name)
            else:
                server.stop(signal.SIGQUIT)


if __name__ == "__main__":
    main()
