"""What members and programs can do with usage."""

from shared.access.actions import Action

READ, WRITE = "usage:read", "usage:write"
USAGE_EXPORT = Action("usage:export", READ, "export usage", feature="exports.csv")
USAGE_READ = Action("usage:read", READ, "view usage")
# What was used was used: events are accepted whatever is unpaid.
USAGE_WRITE = Action("usage:write", WRITE, "send usage", writes=True, allowed_when_unpaid=True)
