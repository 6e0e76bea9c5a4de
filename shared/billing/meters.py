"""What is sold by use, and by which unit: the provider takes whole cents, and a cent is too much for a single call.

A usage is recorded and reported in these units; whoever counts (`metering`) carries what is left over into the next.
"""

from typing import NamedTuple


class Meter(NamedTuple):
    title: str
    many: str  # what is used
    lot: int  # so many of them are one unit

    @property
    def unit(self) -> str:
        """As in "$0.10 per 1,000 calls"."""
        return self.some(1)

    def some(self, units: int) -> str:
        return f"{units * self.lot:,} {self.many}"

    @property
    def size(self) -> int:
        """How many calls or events a unit is."""
        return int(self.unit.partition(" ")[0].replace(",", ""))


METERS = {
    "api_calls": Meter("API calls", "calls", 1_000),
    "usage_events": Meter("Usage events", "events", 1_000),
}
