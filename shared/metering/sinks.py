"""Where closed usage goes to be billed. A module that bills names its sink in its manifest."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.core import registry
from shared.core.context import Ctx
from shared.core.registry import Module


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedUsage:
    """Whole units of sale of one closed window. The identifier is the same in every attempt."""

    meter: str
    starts_at: datetime  # of the window
    units: int
    identifier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedUsage:
    """Units that a sink has, and how many of them have reached whoever bills them."""

    units: int = 0
    confirmed_units: int = 0


class UsageSink(Protocol):
    async def emit(self, ctx: Ctx, closed_usage: ClosedUsage) -> None:
        """In the caller's transaction. The same identifier again changes nothing."""

    async def read_back(self, ctx: Ctx, meter: str, *, since: datetime, until: datetime) -> ReceivedUsage:
        """What was emitted for windows that begin in this time."""

    async def list_received(self, ctx: Ctx, identifiers: Collection[str]) -> Mapping[str, ReceivedUsage]:
        """What was emitted under each of these; those without a row are left out."""


SINKS: list[UsageSink] = []  # of all manifests


@registry.each_module
def _add_sinks(module: Module) -> None:
    SINKS.extend(sink for sink in module.usage_sinks if sink not in SINKS)
