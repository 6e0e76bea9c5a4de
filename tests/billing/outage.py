"""What people feel of a provider that is slow, or gone: requests and decisions beside a worker that is busy with it.

`python -m tests.billing.outage` alternates between a provider that answers, one that takes five seconds, and none at
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

from shared.billing.provider import CustomerState, ProviderDown
from tests.billing.kills import FORK, Files

TENANTS, PEOPLE, WEBHOOKS_A_SECOND, PAUSE = 12, 4, 20, 0.02
MODES = ("answers", "slow", "gone")
SLOW = 5.0


class Moody(Files):
    """As the file `mode` says."""

    async def fetch(self, customer_id: str) -> CustomerState:
        mode = await asyncio.to_thread((self.directory / "mode").read_text)
        if mode == "gone":
            raise ProviderDown("connection refused")
        if mode == "slow":
            await asyncio.sleep(SLOW)
        return await super().fetch(customer_id)


def work(directory: Path) -> None:
    from shared.billing import inbox, providers
    from shared.billing.models import PLATFORM
    from shared.core import db, log

    log.configure("CRITICAL")
    db.engine.cache_clear()
    db.url.cache_clear()
    providers.use(PLATFORM, Moody(directory))  # type: ignore[arg-type]
    asyncio.run(inbox.run())


async def person(cookie: str, slug: str, number: int, until: float, took: list[float]) -> None:
    """Opens a page and changes something, again and again."""
    from shared.access import actions
    from shared.access.decision import decide
    from shared.tenancy import entry, members, tenants

    count = 0
    while time.monotonic() < until:
        begun, count = time.monotonic(), count + 1
        async with entry.enter_tenant(cookie, slug) as ctx:
            assert decide(ctx, actions.MEMBER_READ).allowed
            await members.list_members(ctx)
            if count % 4 == 0:
                await tenants.rename(ctx, f"Acme {number} {count}")
        took.append(time.monotonic() - begun)
        await asyncio.sleep(PAUSE)


async def webhooks(customers: list[str], until: float) -> None:
    from tests.billing import events

    number = 0
    while time.monotonic() < until:
        await events.store(customers[number % len(customers)])
        number += 1
        await asyncio.sleep(1 / WEBHOOKS_A_SECOND)


async def drained() -> float:
    from sqlalchemy import text

    from shared.core import db

    begun = time.monotonic()
    while True:
        async with db.transaction() as session:
            found = await (await session.connection()).execute(
                text("select count(*) from billing_inbox where status not in ('done', 'ignored')")
            )
            if not (left := found.scalar_one()):
                return time.monotonic() - begun
        assert time.monotonic() - begun < 180, f"{left} are left"
        await asyncio.sleep(0.1)


async def measure(directory: Path, rounds: int, seconds: float) -> None:
    from shared.billing import customers
    from shared.billing import providers as known
    from shared.billing.models import PLATFORM
    from tests import factories

    known.use(PLATFORM, Moody(directory))  # type: ignore[arg-type]
    ann, places = await factories.account("Ann"), list[tuple[str, str]]()
    for number in range(TENANTS):
        tenant = await factories.tenant(ann, f"Acme {number}")
        customer = await customers.ensure(tenant.id)
        Moody(directory).say(CustomerState(customer))
        places.append((tenant.slug, customer))
    took: dict[str, list[list[float]]] = {mode: [] for mode in MODES}
    for number in range(rounds):
        for mode in MODES if number % 2 == 0 else tuple(reversed(MODES)):
            (directory / "mode").write_text(mode)
            until, sample = time.monotonic() + seconds, list[float]()
            people = [
                person(ann.cookie, places[one][0], one, until, sample) for one in range(min(PEOPLE, TENANTS))
            ]
            await asyncio.gather(webhooks([one for _, one in places], until), *people)
            took[mode].append(sample)
            if mode != "answers":
                (directory / "mode").write_text("answers")
                print(
                    f"after {seconds:.0f} s of “{mode}” the queue was empty in {await drained():.1f} s",
                    flush=True,
                )
    usual = [p95(one) for one in took["answers"]]
    for mode in MODES:
        each = [p95(one) for one in took[mode]]
        ratio = statistics.median(one / base for one, base in zip(each, usual, strict=True))
        print(
            f"{mode:8} p95 {1000 * statistics.median(each):6.1f} ms of {sum(map(len, took[mode]))} requests,"
            f" ratio {ratio:.2f} ({', '.join(f'{one / base:.2f}' for one, base in zip(each, usual, strict=True))})"
        )


def p95(sample: list[float]) -> float:
    return statistics.quantiles(sample, n=20)[-1]


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--rounds", type=int, default=3)
    given.add_argument("--seconds", type=float, default=60)
    options = given.parse_args()
    os.environ.setdefault("BULKHEAD_DATA_DIR", str(Path(__file__).parents[2] / ".bulkhead" / "test"))
    os.environ.setdefault("BULKHEAD_SANDBOX_URL", "http://localhost:1")
    from tests import database

    name = database.build(f"{database.MINE}{os.getpid()}_outage")
    with tempfile.TemporaryDirectory() as root:
        directory = Path(root)
        (directory / "mode").write_text("answers")
        worker = FORK.Process(target=work, args=(directory,))
        worker.start()
        try:
            _run(measure, directory, options.rounds, options.seconds)
        finally:
            worker.kill()
            worker.join()
            database.drop(name)


def _run(what: Callable[..., Awaitable[None]], *given: Any) -> None:
    async def all_of_it() -> None:
        from shared.core import db, log

        log.configure("CRITICAL")
        try:
            await what(*given)
        finally:
            await db.dispose()

    asyncio.run(all_of_it())


if __name__ == "__main__":
    main()
