"""Workers that die by kill -9 at every step, and a database that does: nothing is lost, nothing happens twice.

`python -m tests.support.billing.kills --seeds 20 --postgres` starts a server of its own, which is killed too. Eight workers
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

from shared.billing.provider_values import CustomerState
from tests.support.billing import access_reference, histories

TENANTS, OPERATIONS, WORKERS, CONCURRENCY = 4, 60, 8, 2
LEASE = timedelta(seconds=1)
SETTLE_TIMEOUT_S = 120.0  # seconds until all is settled
PLANS = {
    access_reference.BASIC: "starter",
    access_reference.PLUS: "pro",
    access_reference.SEATED: "business",
    access_reference.EXTRA: "extra_seats",
}
PRELOADED = (
    "shared.billing.inbound_webhooks.processing",
    "tests.support.factories",
    "tests.support.billing.granted_access",
    "tests.support.billing.scripted_provider",
)
FORK = multiprocessing.get_context("fork")


class CrashPoint(NamedTuple):
    """Where a worker kills itself: after this was done, before anything else is."""

    module: str
    name: str


CRASH_POINTS = (
    CrashPoint(
        "shared.billing.inbound_webhooks.inbound_webhook_repository", "claim_webhooks"
    ),  # not yet committed
    CrashPoint(
        "shared.billing.inbound_webhooks.inbound_webhook_repository", "get_customer_tenant_id"
    ),  # claimed, nothing else
    CrashPoint("shared.billing.inbound_webhooks.inbound_webhook_repository", "take_ticket"),
    CrashPoint(__name__, "_read"),  # fetched
    CrashPoint(
        "shared.billing.inbound_webhooks.inbound_webhook_repository", "mark_processed"
    ),  # marked, not committed
    CrashPoint("shared.billing.inbound_webhooks.inbound_webhook_repository", "lock_customer_if_newest"),
    CrashPoint("shared.billing.sync.provider_records", "write_records"),
    CrashPoint("shared.entitlements.subscription_grants", "apply_subscription"),
    CrashPoint("shared.billing.sync.apply_state", "apply_customer_state"),  # all of it, not committed
    CrashPoint("shared.billing.sync.customer_sync", "sync_customer"),  # committed
)


@dataclass
class RunCounts:
    webhooks: int = 0
    deliveries: int = 0
    workers: Counter[str] | None = None
    servers: int = 0


class FileProvider:
    """The provider as all processes see it: a file for every customer."""

    def __init__(self, directory: Path, seed: int = 0) -> None:
        self.directory, self.rng = directory, random.Random(seed)

    async def create_customer(self, tenant_id: str, name: str, email: str, key: str) -> str:
        return f"cus_{tenant_id[4:]}"

    async def get_tenant_id(self, customer_id: str) -> str:
        return f"ten_{customer_id[4:]}"

    async def fetch_customer(self, customer_id: str) -> CustomerState:
        state = await _read(self.directory / customer_id)
        await asyncio.sleep(self.rng.choice((0, 0.005, 0.03)))
        return state

    def save_state(self, state: CustomerState) -> None:
        draft = self.directory / f"{state.id}.draft"
        draft.write_bytes(pickle.dumps(state))
        draft.rename(self.directory / state.id)


async def _read(path: Path) -> CustomerState:
    return _load_state(path)


def _load_state(path: Path) -> CustomerState:
    state: CustomerState = pickle.loads(path.read_bytes())
    return state


# ── a worker ─────────────────────────────────────────────────────────────────────────────────────────────────────


def run_worker(directory: Path, seed: int, death: CrashPoint | None, control: bool) -> None:
    from shared.billing.inbound_webhooks import processing

    _start_process(directory, seed)
    processing.LEASE, processing.POLL_INTERVAL_S = LEASE, 0.05
    processing.MAX_WORKER_DEATHS = 1_000  # so many on so few customers are no sign of poison here
    if control:
        _patch_to_mark_early()
    if death is not None:
        _install_crash(death, random.Random(seed).randint(1, 3))
    asyncio.run(processing.run(CONCURRENCY))


def _patch_to_mark_early() -> None:
    """What must be noticed: it is done when it is taken, in a transaction of its own."""
    from shared.billing.inbound_webhooks import inbound_webhook_repository
    from shared.billing.sync import customer_sync
    from shared.core import db

    original_look = customer_sync.sync_customer

    async def look(*args: Any, claim: inbound_webhook_repository.WebhookClaim, **kwargs: Any) -> Any:
        async with db.transaction() as session:
            await inbound_webhook_repository.mark_processed(session, claim)
        return await original_look(*args, **kwargs)

    customer_sync.sync_customer = look  # type: ignore[assignment]


def _start_process(directory: Path, seed: int = 0) -> None:
    """In a process that was forked: nothing of its parent's is open here."""
    from shared.billing import provider_registry
    from shared.billing.models import PLATFORM
    from shared.core import db, log

    log.configure("CRITICAL")
    db.engine.cache_clear()
    db.login_url.cache_clear()
    provider_registry.register(PLATFORM, FileProvider(directory, seed))  # type: ignore[arg-type]


def _install_crash(death: CrashPoint, times: int) -> None:
    module: Any = sys.modules[death.module]
    original: Callable[..., Awaitable[Any]] = getattr(module, death.name)
    remaining = times

    async def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal remaining
        result = await original(*args, **kwargs)
        remaining -= bool(result)  # a claim that took nothing is no step
        if remaining <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(module, death.name, deadly)


# ── what is done to them ─────────────────────────────────────────────────────────────────────────────────────────


class CrashRun:
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
        self.seed, self.rng, self.directory, self.name = seed, random.Random(seed), directory, name
        self.server, self.deaths, self.operations, self.control = server, deaths, operations, control
        self.files = FileProvider(directory)
        self.workers: list[tuple[BaseProcess, str]] = []
        self.started_workers = 0
        self.counts = RunCounts(workers=Counter())
        self.customers: dict[str, str] = {}  # tenant by customer
        self.providers: dict[str, histories.RandomProvider] = {}
        self.stored_event_ids: set[str] = set()
        self.lossy_customer = ""

    def run_seed(self) -> RunCounts:
        self.customers = run_in_child(_create_tenants, self.directory, f"seed {self.seed}")
        self.lossy_customer = min(self.customers)
        from shared.core.db import now

        at = now().replace(microsecond=0)
        self.providers = {
            customer: histories.RandomProvider(random.Random(f"{self.seed}{customer}"), at)
            for customer in self.customers
        }
        for _ in range(WORKERS):
            self.start_worker(healthy=False)
        try:
            held_back = self.change_and_deliver()
            self.rng.shuffle(held_back)
            for customer, event_id in held_back:
                self.deliver_webhook(customer, event_id)
                self.reap_workers(healthy=False)
            self.wait_until_processed()
        finally:
            for process, _ in self.workers:
                process.kill()
                process.join()
        # Only of one customer webhooks are lost: what is asked for without a webhook would hide what we lost of others.
        run_in_child(
            _reconcile_customers, self.directory, {self.lossy_customer: self.customers[self.lossy_customer]}
        )
        truths = {
            customer: list(self.providers[customer].list_all("cus_1").values()) for customer in self.customers
        }
        run_in_child(_verify_outcome, self.directory, (self.customers, truths, sorted(self.stored_event_ids)))
        return self.counts

    def change_and_deliver(self) -> list[tuple[str, str]]:
        """What is held back."""
        held_back = []
        for number in range(self.operations):
            customer = self.rng.choice(sorted(self.customers))
            seller = self.providers[customer]
            seller.change_customer("cus_1")
            subscriptions = tuple(seller.list_all("cus_1").values())
            self.files.save_state(CustomerState(customer, subscriptions=subscriptions))
            event_id = f"evt_{self.seed}_{number}_{customer}"
            fate = self.rng.choice(("comes", "comes", "twice", "held", "held", "lost"))
            if fate == "held":
                held_back.append((customer, event_id))
            elif fate != "lost" or customer != self.lossy_customer:
                for _ in range(1 + (fate == "twice")):
                    self.deliver_webhook(customer, event_id)
            if self.rng.random() < 0.1:
                process, _ = self.rng.choice(self.workers)
                process.kill()
            if self.server is not None and number in (self.operations // 3, 2 * self.operations // 3):
                self.kill_server()
            self.reap_workers(healthy=False)
            time.sleep(0.01)
        return held_back

    def deliver_webhook(self, customer: str, event_id: str) -> None:
        """Again and again until it is acknowledged, as the provider does."""
        self.counts.deliveries += 1
        while True:
            with suppress(psycopg.Error):
                with psycopg.connect(self.database_url(), autocommit=True) as connection:
                    connection.execute(
                        "insert into inbound_webhook (account_id, event_id, type, livemode, created_at, customer_id, payload)"
                        " values ('platform', %s, 'customer.subscription.updated', false, now(), %s, '{}')"
                        " on conflict do nothing",
                        [event_id, customer],
                    )
                    connection.execute("select pg_notify('bulkhead_inbox', '')")
                break
            time.sleep(0.05)
        self.stored_event_ids.add(event_id)
        self.counts.webhooks = len(self.stored_event_ids)

    def database_url(self) -> str:
        from tests.support.database import admin_url

        return admin_url(self.name)

    def kill_server(self) -> None:
        from tests.support.postgres_server import kill_server

        kill_server(self.server)
        self.counts.servers += 1
        self.server.start()

    def start_worker(self, *, healthy: bool) -> None:
        self.started_workers += 1
        death = None
        if not healthy and self.deaths > 0:
            self.deaths -= 1
            death = CRASH_POINTS[self.started_workers % len(CRASH_POINTS)]
        process = FORK.Process(
            target=run_worker,
            args=(self.directory, self.seed * 1000 + self.started_workers, death, self.control),
        )
        process.start()
        self.workers.append((process, death.name if death else "outside"))

    def reap_workers(self, *, healthy: bool) -> None:
        for dead_worker in [worker for worker in self.workers if not worker[0].is_alive()]:
            process, death_name = dead_worker
            process.join()
            assert process.exitcode == -signal.SIGKILL, f"a worker ended with {process.exitcode}"
            assert self.counts.workers is not None
            self.counts.workers[death_name] += 1
            self.workers.remove(dead_worker)
            self.start_worker(healthy=healthy)

    def wait_until_processed(self) -> None:
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while time.monotonic() < deadline:
            self.reap_workers(healthy=False)
            with psycopg.connect(self.database_url(), autocommit=True) as connection:
                unsettled = connection.execute(
                    "select status, count(*) from inbound_webhook where status not in ('done') group by 1"
                ).fetchall()
                if not unsettled:
                    return
                # What failed while the database was away would wait; here nobody does.
                connection.execute(
                    "update inbound_webhook set due_at = now() where status in ('pending', 'parked')"
                )
            time.sleep(0.1)
        raise AssertionError(f"seed {self.seed}: not settled: {unsettled}")


def run_in_child(work: Callable[..., Any], directory: Path, argument: Any) -> Any:
    """In a process of its own, so that those who are forked later inherit no event loop and no connection."""
    receiver, sender = FORK.Pipe()

    def run() -> None:
        _start_process(directory)
        try:
            sender.send((True, asyncio.run(work(directory, argument))))
        except BaseException as problem:
            sender.send((False, f"{type(problem).__name__}: {problem}"))

    process = FORK.Process(target=run)
    process.start()
    succeeded, result = receiver.recv()
    process.join()
    if not succeeded:
        raise AssertionError(result)
    return result


async def _create_tenants(directory: Path, label: str) -> dict[str, str]:
    from shared.billing import customers
    from tests.support import factories
    from tests.support.billing import scripted_provider

    for price, plan in PLANS.items():
        await scripted_provider.add_price(price, plan, "seat" if price == access_reference.SEATED else "flat")
    ann, tenant_by_customer = await factories.create_account("Ann"), {}
    for number in range(TENANTS):
        tenant = await factories.create_tenant(ann, f"{label} {number}")
        customer = await customers.ensure(tenant.id)
        FileProvider(directory).save_state(CustomerState(customer))
        tenant_by_customer[customer] = tenant.id
    return tenant_by_customer


async def _reconcile_customers(directory: Path, customers: dict[str, str]) -> None:
    from shared.billing.models import PLATFORM
    from shared.billing.sync import customer_sync

    for customer, tenant_id in customers.items():
        await customer_sync.sync_customer(PLATFORM, customer, tenant_id, cause="reconcile")


async def _verify_outcome(
    directory: Path, argument: tuple[dict[str, str], dict[str, Any], Sequence[str]]
) -> None:
    from sqlalchemy import text

    from shared.billing import repository
    from shared.billing.pricing import prices
    from shared.core.db import now
    from shared.tenancy import entry
    from tests.support import audit_chains
    from tests.support.billing.granted_access import TEST_GRACE, get_access_status

    customers, truths, stored = argument
    processed = Counter[str]()
    for customer, tenant_id in customers.items():
        async with entry.enter_billing_sync(tenant_id, "tests.judge") as ctx:
            connection = await ctx.session.connection()

            async def ask(
                statement: str, tenant_id: str = tenant_id, connection: Any = connection
            ) -> list[Any]:
                return list((await connection.execute(text(statement), {"t": tenant_id})).all())

            processed.update(
                event_id
                for row in await ask("select event_ids from billing_event where tenant_id = :t")
                for event_id in row[0]
            )
            row = await repository.get_billing_snapshot(ctx)
            expected = histories.compute_outcome({customer: {subscription.id: subscription for subscription in truths[customer]}}, now(), await prices.get_catalog_prices(ctx.session))  # fmt: skip
            assert (row.schedule or None if row else None) == expected, (
                f"{customer}: {row and row.schedule}, not {expected}"
            )
            for at in access_reference.list_change_times(truths[customer], now() + TEST_GRACE):
                has, expected = (
                    await get_access_status(ctx, at),
                    access_reference.expected_access(truths[customer], at),
                )
                assert has == expected, f"{customer} at {at}: {has}, should be {expected}"
            # One line of the trail for one row, however often its worker died on the way.
            ((written, audited),) = await ask(
                "select (select count(*) from tenant_plan where tenant_id = :t and source <> ''),"
                " (select count(*) from audit_event where tenant_id = :t and action = 'plan.assigned' and actor_type = 'job')"
            )
            assert written == audited, f"{customer}: {written} plans, {audited} lines about them"
            assert (await audit_chains.verify_within(ctx)).is_intact, f"{customer}: the trail is broken"
    processed_twice = {event_id: number for event_id, number in processed.items() if number > 1}
    assert not processed_twice, f"told twice: {processed_twice}"
    assert processed.keys() <= set(stored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--deaths", type=int, default=40, help="of workers, by their own hand, for each seed")
    parser.add_argument("--operations", type=int, default=OPERATIONS)
    parser.add_argument("--control", action="store_true", help="marks before the work: this must fail")
    parser.add_argument("--postgres", action="store_true", help="a server of our own, which is killed too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bulkhead-kills-") as root:
        if options.postgres:
            os.environ["BULKHEAD_DATA_DIR"] = root
            os.environ.pop("DATABASE_URL", None)
        else:
            os.environ.setdefault("BULKHEAD_DATA_DIR", str(Path(__file__).parents[3] / ".bulkhead" / "test"))
        os.environ.setdefault("BULKHEAD_SANDBOX_URL", "http://localhost:1")
        from shared.core.config import settings
        from shared.dev.postgres import EmbeddedPostgres
        from tests.support import database

        for name in PRELOADED:  # or everybody who is forked imports it anew
            importlib.import_module(name)
        server = EmbeddedPostgres(settings().absolute_data_dir / "postgres") if options.postgres else None
        name = database.build(f"{database.MINE}{os.getpid()}_kills")
        files = Path(root) / "customers"
        files.mkdir()
        try:
            for seed in range(options.first, options.first + options.seeds):
                started_at = time.monotonic()
                counts = CrashRun(
                    seed, files, name, server, options.deaths, options.operations, options.control
                ).run_seed()
                assert counts.workers is not None
                print(
                    f"seed {seed}: {counts.webhooks} webhooks, {counts.deliveries} deliveries,"
                    f" {counts.workers.total()} workers and {counts.servers} servers killed,"
                    f" 0 lost, 0 twice, {time.monotonic() - started_at:.1f} s; {dict(counts.workers)}",
                    flush=True,
                )
        finally:
            if server is None:
                database.drop(name)
            else:
                server.stop(signal.SIGQUIT)


if __name__ == "__main__":
    main()
