"""`python -m tests.bench.serve SLUG`: the built tenant app as `bulkhead serve tenant` serves it, with pages of 50.

The product shows 25 people at a time, the peers 50: here it shows as many as they. The tenant SLUG gets a
thousand at once, for the controls.
"""

import importlib
import os
import sys
from typing import Any

from shared.cli import parent_watch
from shared.core.context import Ctx
from shared.tenancy import members
from tests.bench import nonce
from tests.bench.people import HEAVY_PAGE, PAGE

serving: Any = importlib.import_module("shared.cli.serve")  # its package has a command of that name
_list, _run = members.list_members, serving.run


async def _fifty(ctx: Ctx, **how: Any) -> members.MemberPage:
    return await _list(ctx, **how | {"limit": HEAVY_PAGE if ctx.slug == sys.argv[1] else PAGE})


def _answering(app: object, *where: Any) -> None:
    _run(nonce.answering(app), *where)


if __name__ == "__main__":
    parent_watch.end_with_parent(os.getppid())
    members.MAX_PAGE_SIZE, members.list_members = HEAVY_PAGE, _fifty
    serving.run = _answering
    serving.serve("tenant")
