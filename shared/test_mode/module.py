"""The manifest of test mode. Its tenants are rows of tenancy."""

from shared.access.permissions import Permission
from shared.audit.event_types import AuditAction
from shared.core.registry import Module
from shared.test_mode import actions, api

MODULE = Module(
    name="test_mode",
    permissions={Permission.TEST_DATA_DELETE: ()},
    actions=[actions.TEST_DATA_DELETE, actions.TEST_MODE_READ, actions.TEST_MODE_TURN_ON],
    audit={
        AuditAction.TEST_DATA_DELETED: "deleted the test data",
        AuditAction.TEST_MODE_TURNED_ON: "turned on test mode",
    },
    recorded={
        actions.TEST_DATA_DELETE.name: ("test_data.deleted",),
        actions.TEST_MODE_TURN_ON.name: ("test_mode.turned_on",),
    },
    endpoints=api.ENDPOINTS,
)
