"""What members and programs can do with usage."""

from shared.access.actions import Action
from shared.access.permissions import Permission

USAGE_CORRECT = Action(
    "usage:correct", Permission.USAGE_CORRECT, "correct usage", writes=True, allowed_when_unpaid=True
)
USAGE_EXPORT = Action("usage:export", Permission.USAGE_READ, "export usage", feature="exports.csv")
USAGE_READ = Action(
    "usage:read",
    Permission.USAGE_READ,
    "view usage",
    open_to_support=True,
)
# What was used was used: events are accepted whatever is unpaid.
USAGE_WRITE = Action(
    "usage:write",
    Permission.USAGE_WRITE,
    "send usage",
    writes=True,
    limit="usage_events",
    allowed_when_unpaid=True,
)
