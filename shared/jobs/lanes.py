"""Lanes of the job queue. Each has its own slots, so a slow outside service delays no job of another lane."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from shared.core import registry


class Lane(StrEnum):
    """A queue by its stored name."""

    WORK = "bulkhead"  # needs our database only
    MAIL = "bulkhead_mail"
    PROVIDER = "bulkhead_provider"  # calls the payment provider
    FILES = "bulkhead_files"  # writes files, which takes minutes
    BULK = "bulkhead_bulk"  # needs our database only, and reads or writes much of it


# Jobs at a time in each worker process. One tenant has all but one of them: the last is for others.
SLOTS = {Lane.WORK: 4, Lane.MAIL: 4, Lane.PROVIDER: 2, Lane.FILES: 2, Lane.BULK: 2}
_lanes_by_handler = dict[Callable[..., Any], Lane]()


def assign_lane(handler: Callable[..., Any], lane: Lane) -> None:
    _lanes_by_handler[handler] = lane


def lane_of_handler(handler: Callable[..., Any] | None) -> Lane:
    return Lane.WORK if handler is None else _lanes_by_handler.get(handler, Lane.WORK)


def lane_of_task(task: str) -> Lane:
    """The lane in which jobs of this task wait. `task` is a stored name; one that no manifest has belongs to `WORK`."""
    return lane_of_handler(registry.list_tasks().get(task))
