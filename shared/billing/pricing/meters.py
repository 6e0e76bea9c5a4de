"""Metered prices and their units. The provider takes whole cents, and a cent is too much for a single call.

Usage is recorded and reported in these units; the code that counts carries the remainder over to the next report.
"""

from typing import NamedTuple


class Meter(NamedTuple):
    title: str
    plural: str  # as in "calls"
    per_unit: int  # number in one unit

    @property
    def unit_text(self) -> str:
        """As in "$0.10 per 1,000 calls"."""
        return self.format_units(1)

    def format_units(self, quantity: int) -> str:
        return f"{quantity * self.per_unit:,} {self.plural}"


METERS = {
    "api_calls": Meter("API calls", "calls", 1_000),
    "usage_events": Meter("Usage events", "events", 1_000),
}
