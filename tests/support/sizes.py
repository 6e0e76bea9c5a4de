"""How much the tests with a free size do: `tiny` in `make test`, so that they cannot rot, `full` in `make test-long`."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

VARIABLE = "TESTS_SIZES"  # an environment variable reaches the processes of pytest-xdist and our own children
TINY, FULL = "tiny", "full"


@dataclass(frozen=True, slots=True)
class Size:
    tiny: int
    full: int


SIZES: dict[str, Size] = {
    # Random histories and worlds, by number of seeds
    "billing.access": Size(1_500, 6_000),
    "billing.histories": Size(1_500, 6_000),
    "billing.histories_with_losses": Size(600, 2_000),
    "billing.histories_on_postgres": Size(6, 24),
    "billing.page_histories": Size(150, 5_000),
    # Model checking: changes at the provider, of which every interleaving is explored
    "billing.model_changes": Size(3, 4),
    "billing.model_changes_of_two_customers": Size(1, 2),
    # Workers that are killed
    "billing.deaths": Size(6, 12),
    "billing.operations_among_deaths": Size(12, 24),
    # Answers about entitlements, against the oracle
    "entitlements.oracle_tenants": Size(150, 500),
    "entitlements.oracle_control": Size(40, 150),
    "entitlements.last_seat_races": Size(25, 200),
    "entitlements.changes_seen_elsewhere": Size(8, 30),
    "entitlements.other_processes": Size(2, 3),
    "entitlements.time_travel_changes": Size(12, 45),
    "entitlements.time_travel_questions": Size(60, 500),
    # Senders of usage that are killed, and events that are sent again
    "metering.last_unit_races": Size(2, 200),
    "metering.spend_races": Size(1, 20),
    "metering.kills": Size(1, 100),
    "metering.kills_of_all": Size(3, 100),  # app, worker and server by turns
    "metering.replays": Size(60, 15_000),
    # Jobs of one tenant that floods the queue, and tenants that flood the connections together
    "jobs.flood": Size(300, 10_000),
    "core.flooding_tenants": Size(20, 100),
    "metering.dimension_values": Size(30, 10_000),
    # Events while their receiver is killed
    "evidence.siem": Size(20, 4_000),
    "webhooks.killed_receiver": Size(16, 1_000),
    "webhooks.retries_while_away": Size(3, 6),
    # Audited changes of one tenant at the same time
    "tenancy.audited_changes": Size(40, 200),
    "tenancy.blast_radius_tenants": Size(400, 10_000),
    # Guards that are removed besides the planted holes, chosen anew in each run
    "attack.removals": Size(3, 12),
    # Looks in which a page is judged by colours and by what a screen reader gets
    "e2e.looks": Size(1, 4),
    # Parts that are killed or frozen under load
    "e2e.faults": Size(1, 10),
    # Frames of pages that are changed at random, of each app; `make attack` sends all of them
    "attack.changed_frames": Size(100, 3_000),
    # Events whose processor time is measured
    "web.costed_events": Size(20, 600),
    # Requests that are made from the OpenAPI document, for each operation, caller and mode; and scenarios of several
    "api.callers_per_operation": Size(1, 6),
    "api.cases": Size(1, 100),
    "api.all_cases": Size(50, 50_000),
    "api.operator_cases": Size(40, 10_000),
    "api.scenarios": Size(5, 1_000),
    # Frames that one member sends at once
    "web.flood_frames": Size(900, 3_000),
    # Input that Hypothesis makes up, by number of examples
    "fuzz.texts": Size(100, 300),
    "fuzz.passwords": Size(10, 40),
    "fuzz.bodies": Size(60, 300),
    "fuzz.pictures": Size(60, 300),
}


def size(name: str) -> int:
    """The size in this run. Raises KeyError for a name that is not in the table."""
    return SIZES[name].full if is_full() else SIZES[name].tiny


def is_full() -> bool:
    return os.environ.get(VARIABLE) == FULL


def choose(*, long: bool) -> None:
    """Sets the size for this process and those it starts."""
    os.environ[VARIABLE] = FULL if long else TINY


class Marked(Protocol):
    def get_closest_marker(self, name: str) -> object | None: ...


Item = TypeVar("Item", bound=Marked)


def split_long(items: Iterable[Item]) -> tuple[list[Item], list[Item]]:
    """Tests of every run, and tests marked `long`."""
    every_run, long = list[Item](), list[Item]()
    for item in items:
        (every_run if item.get_closest_marker("long") is None else long).append(item)
    return every_run, long
