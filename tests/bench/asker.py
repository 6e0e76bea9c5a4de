"""`python -m tests.bench.asker [deaf | SECONDS]`: a process of the app that keeps rights, for `tests.bench.visible`.

Commands come as lines of JSON on standard input; what it answers, and what it hears, goes to standard output. One that
is deaf hears nothing and has to be right all the same. With SECONDS it is the control: rights are kept for so long,
whatever their version, and nothing is listened to.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg

from shared.access import actions
from shared.access.decision import decide
from shared.core import db, log
from shared.core.context import Rights
from shared.core.live_events import CHANNEL
from shared.entitlements import rights_cache
from shared.tenancy import entry

ASKED = actions.AUDIT_EXPORT  # of a feature that the bench switches


def say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


async def listen() -> None:
    """As `shared.ui.live_updates` does: one connection, and what is said of rights frees what is kept of them."""
    async with await psycopg.AsyncConnection.connect(db.login_url("app"), autocommit=True) as connection:
        await connection.execute(f"listen {CHANNEL}")
        say(listening=True)
        async for notice in connection.notifies():
            kind, _, key = notice.payload.partition(" ")
            if kind == "rights":
                rights_cache.invalidate(key)
            if kind in ("rights", "bare"):
                say(heard=f"{kind} {key}", at=time.monotonic_ns())


def keep(number: int, among: Sequence[str]) -> None:
    """So many tenants are kept, these `among` them."""
    entry = next(iter(rights_cache._cache.values()))
    rights_cache.invalidate()
    for tenant_id in (*among, *(f"ten_{place:06}" for place in range(number - len(among)))):
        rights_cache._cache[tenant_id] = replace(entry, rights_by_state=dict(entry.rights_by_state))


async def ask(cookie: str, slug: str) -> str:
    async with entry.enter_tenant(cookie, slug) as ctx:
        return str(decide(ctx, ASKED).reason)


def keep_for(seconds: float) -> None:
    """The control: a time instead of a version."""
    asked, until = rights_cache.get_rights, dict[str, tuple[float, Rights]]()

    async def rights(session: Any, tenant_id: str, *args: Any) -> Rights:
        end, kept = until.get(tenant_id, (0.0, None))
        if kept is None or end <= time.monotonic():
            kept = await asked(session, tenant_id, *args)
            until[tenant_id] = time.monotonic() + seconds, kept
        return kept

    def find(tenant_id: str, *_: Any) -> Rights | None:
        end, kept = until.get(tenant_id, (0.0, None))
        return None if end <= time.monotonic() else kept

    rights_cache.get_rights, rights_cache.find_rights = rights, find


async def main(how: str) -> None:
    log.configure("CRITICAL")
    loop, lines = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    listening = asyncio.create_task(listen()) if not how else None
    if listening is None:
        say(listening=False)
    if how not in ("", "deaf"):
        keep_for(float(how))
    rights_cache.MAX_TENANTS = 1_000_000  # the bench says how many are kept
    while line := await lines.readline():
        request = json.loads(line)
        if "keep" in request:
            keep(request["keep"], request["among"])
            say(kept=request["keep"])
        else:
            say(reason=await ask(request["cookie"], request["slug"]))
    if listening:
        listening.cancel()


def run(how: str = "") -> None:
    asyncio.run(main(how))


if __name__ == "__main__":
    run(*sys.argv[1:])
