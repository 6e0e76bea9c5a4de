"""What is sold by use, and by which unit: the provider takes whole cents, and a cent is too much for a single call.

A usage is recorded and reported in these units; whoever counts (`metering`) carries what is left over into the next.
"""

from typing import NamedTuple


class Meter(NamedTuple):
    title: str
    unit: str  # of what a quantity counts, as in "$0.10 per …"

    @property
    def size(self) -> int:
        """How many calls or events a unit is."""
        return int(self.unit.partition(" ")[0].replace(",", ""))


METERS = {
    "api_calls": Meter("API calls", "1,000 calls"),
    "usage_events": Meter("Usage events", "1,000 events"),
}
