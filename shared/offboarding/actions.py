"""What owners can do about the end of their organisation."""

from shared.access.actions import Action
from shared.access.permissions import Permission

DELETION_READ = Action(
    "tenant_deletion:read",
    Permission.SETTINGS_READ,
    "view the deletion of the organisation",
    live_only=True,
    open_to_support=True,
)
DELETION_WRITE = Action(
    "tenant_deletion:write",
    Permission.TENANT_DELETE,
    "delete the organisation",
    writes=True,
    allowed_when_unpaid=True,
    live_only=True,
)
