"""A short run of `tests.support.billing.kills`: workers die at every step. The long one, with its own server, is by hand."""

import asyncio
import os
import sys
from pathlib import Path

from tests.support.sizes import size

ROOT = Path(__file__).parents[2]


async def test_killed_workers_lose_nothing_and_repeat_nothing(schema: str) -> None:
    deaths, operations = size("billing.deaths"), size("billing.operations_among_deaths")
    command = ["-m", "tests.support.billing.kills", "--seeds", "1"]
    command += ["--deaths", str(deaths), "--operations", str(operations)]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, *command),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=dict(os.environ),
    )
    output, _ = await child.communicate()
    assert child.returncode == 0, output.decode()[-3000:]
    assert b"0 lost, 0 twice" in output
