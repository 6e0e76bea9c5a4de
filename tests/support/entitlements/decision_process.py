"""Another process of the product: answers every line on its input with what is decided at that moment."""

import asyncio
import sys
import time

from shared.access import actions
from shared.access.decision import decide
from shared.core import db
from shared.tenancy import entry


def answer_lines(cookie: str, slug: str) -> None:
    """Runs in the child: reason and time, from the clock that all processes share."""
    asyncio.run(_answer_lines(cookie, slug))


async def _answer_lines(cookie: str, slug: str) -> None:
    loop = asyncio.get_running_loop()

    async def line() -> str:
        return (await loop.run_in_executor(None, sys.stdin.readline)).strip()

    while await line():
        async with entry.enter_tenant(cookie, slug) as ctx:
            reason = decide(ctx, actions.ROLE_CREATE, used=0).reason
        print(reason.value, time.monotonic(), flush=True)
    await db.dispose()
