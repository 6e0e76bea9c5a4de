"""A hundred calls at the limit - 1, from four processes: exactly one is allowed."""

import asyncio
from contextlib import ExitStack

from tests.conftest import Cast
from tests.metering.test_quotas import send_many
from tests.support import forked
from tests.support.limit_racers import METER, race
from tests.support.limits import set_limit
from tests.support.sizes import size

PROCESSES, CALLS = 4, 25  # of each


async def test_last_unit_of_a_limit_is_given_once_over_all_processes(cast: Cast) -> None:
    with ExitStack() as stack:
        racers = [
            stack.enter_context(forked.run_piped(race, f"p{number}", str(CALLS)))
            for number in range(PROCESSES)
        ]
        for racer in racers:
            assert await racer.read_line() == "ready"
        for number in range(size("metering.last_unit_races")):
            await set_limit(cast, METER, number + 1)
            accepted = await asyncio.gather(*(racer.ask(f"{cast.acme} {number}") for racer in racers))
            assert sum(map(int, accepted)) == 1, f"round {number}: {accepted}"
            assert {status.value for status in await send_many(cast.ann, 1, f"after{number}")} == {"rejected"}
