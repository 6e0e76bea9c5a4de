"""What members can do with webhooks. What ends data leaving the organisation needs no plan and no paid bill."""

from shared.access.actions import Action

READ, WRITE = "webhook:read", "webhook:write"

WEBHOOK_CHANGE = Action("webhook:change", WRITE, "change webhooks", writes=True)
WEBHOOK_CREATE = Action("webhook:create", WRITE, "add webhooks", writes=True)
WEBHOOK_DELETE = Action("webhook:delete", WRITE, "delete webhooks", writes=True, allowed_when_unpaid=True)
WEBHOOK_PAUSE = Action("webhook:pause", WRITE, "pause webhooks", writes=True, allowed_when_unpaid=True)
WEBHOOK_READ = Action(
    "webhook:read",
    READ,
    "view webhooks",
    open_to_support=True,
)
WEBHOOK_REPLAY = Action("webhook:replay", WRITE, "send webhooks again", writes=True)
WEBHOOK_RESUME = Action("webhook:resume", WRITE, "resume webhooks", writes=True)
WEBHOOK_ROTATE = Action(
    "webhook:rotate", WRITE, "rotate webhook secrets", writes=True, allowed_when_unpaid=True
)
WEBHOOK_TEST = Action("webhook:test", WRITE, "send test webhooks", writes=True)
