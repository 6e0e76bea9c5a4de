"""How fast Stripe is asked, and when it is not asked at all. One of each for an account, in one process."""

import asyncio

from shared.billing.provider import ProviderDown, TooMany

# Stripe takes 25 a second for one endpoint; in no second do we ask more than RATE + BURST times.
RATE, BURST = 15.0, 5
LONGEST_QUEUE_S = 10.0  # who would wait longer is told so at once
FAILURES, REST_S = 5, 10.0


class Pace:
    """A bucket of `burst` turns that fills with `rate` a second. Turns come in the order they were asked for."""

    def __init__(self, rate: float = RATE, burst: int = BURST) -> None:
        self._every, self._slack = 1 / rate, (burst - 1) / rate
        self._next = float("-inf")

    async def turn(self) -> None:
        """Raises TooMany, without taking one, where it would be too long in coming."""
        now = asyncio.get_running_loop().time()
        mine = max(self._next, now - self._slack)
        if mine - now > LONGEST_QUEUE_S:
            raise TooMany(mine - now)
        self._next = mine + self._every
        if mine > now:
            await asyncio.sleep(mine - now)

    def hold(self, seconds: float) -> None:
        """Nobody's turn comes before: they said that we ask too often."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)


class Circuit:
    """Opens after some failures in a row, so that no page waits for who does not answer. Then one try at a time."""

    def __init__(self, failures: int = FAILURES, rest: float = REST_S) -> None:
        self._most, self._rest = failures, rest
        self._failed, self._until = 0, 0.0

    def enter(self) -> None:
        """Raises ProviderDown while it is open."""
        if self._failed < self._most:
            return
        now = asyncio.get_running_loop().time()
        if now < self._until:
            raise ProviderDown("did not answer just now, and is not asked for a moment")
        self._until = now + self._rest  # whoever comes while this one is out

    def answered(self) -> None:
        self._failed = 0

    def failed(self) -> None:
        self._failed += 1
        if self._failed >= self._most:
            self._until = asyncio.get_running_loop().time() + self._rest
