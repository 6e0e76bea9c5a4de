"""Faults of deliveries: held, late, out of order, duplicated, dropped. The same seed gives the same faults."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar

ReleaseOrder = Literal["kept", "reversed", "shuffled"]
Item = TypeVar("Item")


@dataclass(frozen=True)
class PlannedDelivery:
    state: Literal["pending", "held", "dropped"]
    wait_s: float = 0


@dataclass
class Chaos:
    """Faults of deliveries. Each delivery reduces the `…_next` counters, which apply before the chances."""

    seed: int = 0
    hold: bool = False
    delay_s: float = 0
    shuffle_s: float = 0  # each waits a random time up to this, so their order changes
    duplicate: float = 0  # chance, 0 to 1
    duplicate_next: int = 0
    drop: float = 0
    drop_next: int = 0
    _random: random.Random = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  repeatable on purpose

    def plan_deliveries(self) -> list[PlannedDelivery]:
        """The deliveries of one event to one endpoint: one, or two for a duplicate."""
        # Always draws four numbers, so that changing one setting does not change the results of the others.
        drop_draw, duplicate_draw, *delay_draws = (self._random.random() for _ in range(4))
        if self._decrement("drop_next") or drop_draw < self.drop:
            return [PlannedDelivery("dropped")]
        copies = 2 if self._decrement("duplicate_next") or duplicate_draw < self.duplicate else 1
        state: Literal["pending", "held"] = "held" if self.hold else "pending"
        return [
            PlannedDelivery(state, self.delay_s + delay_draw * self.shuffle_s)
            for delay_draw in delay_draws[:copies]
        ]

    def order_deliveries(self, deliveries: Sequence[Item], order: ReleaseOrder) -> list[Item]:
        """Return the held deliveries in the order in which they are sent."""
        if order == "shuffled":
            return self._random.sample(deliveries, len(deliveries))
        return list(deliveries) if order == "kept" else list(deliveries)[::-1]

    def to_dict(self) -> dict[str, Any]:
        return {setting.name: getattr(self, setting.name) for setting in fields(self) if setting.init}

    def _decrement(self, setting_name: str) -> bool:
        remaining: int = getattr(self, setting_name)
        setattr(self, setting_name, max(0, remaining - 1))
        return remaining > 0
