"""Another process of the product: answers every line on its input with what is decided at that moment.

`python -m tests.support.entitlements.decision_process` with the cookie on its first line and the tenant's slug on its second.
"""

import asyncio
import sys
import time

from shared.access import actions
from shared.access.decision import decide
from shared.core import db
from shared.tenancy import entry


async def main() -> None:
    loop = asyncio.get_running_loop()

    async def line() -> str:
        return (await loop.run_in_executor(None, sys.stdin.readline)).strip()

    cookie, slug = await line(), await line()
    while await line():
        async with entry.enter_tenant(cookie, slug) as ctx:
            reason = decide(ctx, actions.ROLE_CREATE, used=0).reason
        print(reason.value, time.monotonic(), flush=True)
    await db.dispose()


if __name__ == "__main__":
    asyncio.run(main())
