"""What owners can do with streams of the audit log. What ends data leaving the organisation needs no plan and no paid bill."""

from shared.access.actions import Action

READ, WRITE = "audit_stream:read", "audit_stream:write"

AUDIT_STREAM_CHANGE = Action(
    "audit_stream:change", WRITE, "change audit log streams", writes=True, feature="audit_log"
)
AUDIT_STREAM_CREATE = Action(
    "audit_stream:create", WRITE, "add audit log streams", writes=True, feature="audit_log"
)
AUDIT_STREAM_DELETE = Action(
    "audit_stream:delete", WRITE, "delete audit log streams", writes=True, allowed_when_unpaid=True
)
AUDIT_STREAM_PAUSE = Action(
    "audit_stream:pause", WRITE, "pause audit log streams", writes=True, allowed_when_unpaid=True
)
AUDIT_STREAM_READ = Action("audit_stream:read", READ, "view audit log streams")
AUDIT_STREAM_TEST = Action(
    "audit_stream:test", WRITE, "test audit log streams", writes=True, feature="audit_log"
)
