"""What people feel of a provider that is slow, or gone: requests and decisions beside a worker that is busy with it.

`python -m tests.support.billing.outage` alternates between a provider that answers, one that takes five seconds, and none at
all, under the same stream of webhooks, and prints how long requests took each time. Then it says how soon the queue
was empty again. Alternating, because a machine's other work comes and goes.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from shared.billing.provider import ProviderDown
from shared.billing.provider_values import CustomerState
from tests.support.billing.kills import FORK, FileProvider

TENANTS, PEOPLE, WEBHOOKS_A_SECOND, PAUSE = 12, 4, 20, 0.02
MODES = ("answers", "slow", "gone")
SLOW_S = 5.0


class UnreliableProvider(FileProvider):
    """As the file `mode` says."""

    async def fetch_customer(self, customer_id: str) -> CustomerState:
        mode = await asyncio.to_thread((self.directory / "mode").read_text)
        if mode == "gone":
            raise ProviderDown("connection refused")
        if mode == "slow":
            await asyncio.sleep(SLOW_S)
        return await super().fetch_customer(customer_id)


def run_worker(directory: Path) -> None:
    from shared.billing import provider_registry
    from shared.billing.inbound_webhooks import processing
    from shared.billing.models import PLATFORM
    from shared.core import db, log

    log.configure("CRITICAL")
    db.engine.cache_clear()
    db.login_url.cache_clear()
    provider_registry.register(PLATFORM, UnreliableProvider(directory))  # type: ignore[arg-type]
    asyncio.run(processing.run())


async def simulate_person(cookie: str, slug: str, number: int, until: float, durations: list[float]) -> None:
    """Opens a page and changes something, again and again."""
    from shared.access import actions
    from shared.access.decision import decide
    from shared.tenancy import entry, members, tenants

    count = 0
    while time.monotonic() < until:
        started_at, count = time.monotonic(), count + 1
        async with entry.enter_tenant(cookie, slug) as ctx:
            assert decide(ctx, actions.MEMBER_READ).allowed
            await members.list_members(ctx)
            if count % 4 == 0:
                await tenants.rename(ctx, f"Acme {number} {count}", version=None)
        durations.append(time.monotonic() - started_at)
        await asyncio.sleep(PAUSE)


async def send_webhooks(customers: list[str], until: float) -> None:
    from tests.support.billing import events

    number = 0
    while time.monotonic() < until:
        await events.store_webhooks(customers[number % len(customers)])
        number += 1
        await asyncio.sleep(1 / WEBHOOKS_A_SECOND)


async def wait_until_drained() -> float:
    from sqlalchemy import text

    from shared.core import db

    started_at = time.monotonic()
    while True:
        async with db.transaction() as session:
            result = await (await session.connection()).execute(
                text("select count(*) from inbound_webhook where status not in ('done', 'ignored')")
            )
            if not (remaining := result.scalar_one()):
                return time.monotonic() - started_at
        assert time.monotonic() - started_at < 180, f"{remaining} are left"
        await asyncio.sleep(0.1)


async def measure_modes(directory: Path, rounds: int, seconds: float) -> None:
    from shared.billing import customers, provider_registry
    from shared.billing.models import PLATFORM
    from tests.support import factories

    provider_registry.register(PLATFORM, UnreliableProvider(directory))  # type: ignore[arg-type]
    ann, tenants = await factories.create_account("Ann"), list[tuple[str, str]]()
    for number in range(TENANTS):
        tenant = await factories.create_tenant(ann, f"Acme {number}")
        customer = await customers.ensure(tenant.id)
        UnreliableProvider(directory).save_state(CustomerState(customer))
        tenants.append((tenant.slug, customer))
    durations_by_mode: dict[str, list[list[float]]] = {mode: [] for mode in MODES}
    for number in range(rounds):
        for mode in MODES if number % 2 == 0 else tuple(reversed(MODES)):
            (directory / "mode").write_text(mode)
            deadline, sample = time.monotonic() + seconds, list[float]()
            people = [
                simulate_person(ann.cookie, tenants[tenant_index][0], tenant_index, deadline, sample)
                for tenant_index in range(min(PEOPLE, TENANTS))
            ]
            await asyncio.gather(
                send_webhooks([customer_id for _, customer_id in tenants], deadline), *people
            )
            durations_by_mode[mode].append(sample)
            if mode != "answers":
                (directory / "mode").write_text("answers")
                print(
                    f"after {seconds:.0f} s of “{mode}” the queue was empty in {await wait_until_drained():.1f} s",
                    flush=True,
                )
    baseline = [compute_p95(sample) for sample in durations_by_mode["answers"]]
    for mode in MODES:
        percentiles = [compute_p95(sample) for sample in durations_by_mode[mode]]
        ratio = statistics.median(
            p95_value / base for p95_value, base in zip(percentiles, baseline, strict=True)
        )
        print(
            f"{mode:8} p95 {1000 * statistics.median(percentiles):6.1f} ms of {sum(map(len, durations_by_mode[mode]))} requests,"
            f" ratio {ratio:.2f} ({', '.join(f'{p95_value / base:.2f}' for p95_value, base in zip(percentiles, baseline, strict=True))})"
        )


def compute_p95(sample: list[float]) -> float:
    return statistics.quantiles(sample, n=20)[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    os.environ.setdefault("BULKHEAD_DATA_DIR", str(Path(__file__).parents[3] / ".bulkhead" / "test"))
    os.environ.setdefault("BULKHEAD_SANDBOX_URL", "http://localhost:1")
    from tests.support import database

    name = database.build(f"{database.MINE}{os.getpid()}_outage")
    with tempfile.TemporaryDirectory() as root:
        directory = Path(root)
        (directory / "mode").write_text("answers")
        worker = FORK.Process(target=run_worker, args=(directory,))
        worker.start()
        try:
            _run_with_database(measure_modes, directory, options.rounds, options.seconds)
        finally:
            worker.kill()
            worker.join()
            database.drop(name)


def _run_with_database(function: Callable[..., Awaitable[None]], *args: Any) -> None:
    async def all_of_it() -> None:
        from shared.core import db, log

        log.configure("CRITICAL")
        try:
            await function(*args)
        finally:
            await db.dispose()

    asyncio.run(all_of_it())


if __name__ == "__main__":
    main()
