"""`python -m tests.bench.serve PORT SLUG NUMBER`: the built tenant app as `bulkhead serve tenant` serves it.

The product shows 25 people at a time, the peers 50: here it shows as many as they. The tenant SLUG gets NUMBER at
once, for the controls. The server says what its websockets took on the wire.
"""

import importlib
import os
import sys
from typing import Any

from shared.cli import parent_watch
from shared.core.context import Ctx
from shared.core.paging import Page
from shared.tenancy import members
from tests.bench import nonce, sockets
from tests.bench.people import PAGE

serving: Any = importlib.import_module("shared.cli.serve")  # its package has a command of that name
_list, _run = members.list_members, serving.run_server


def _unbounded(limit: int) -> int:
    return limit


async def _fifty(ctx: Ctx, **how: Any) -> Page[members.Member]:
    return await _list(ctx, **how | {"limit": most if ctx.slug == slug else PAGE})


def _answering(app: object, *where: Any) -> None:
    _run(nonce.answering(sockets.counting(app)), *where)


if __name__ == "__main__":
    port, slug, most = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    parent_watch.end_with_parent(os.getppid())
    members.clamp_limit, members.list_members = _unbounded, _fifty
    serving.run_server = _answering
    serving.serve("tenant", port=port)
