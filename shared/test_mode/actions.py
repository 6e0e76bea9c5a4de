"""What members can do with test mode. All of it belongs to the live organisation."""

from shared.access.actions import Action
from shared.access.permissions import Permission

TEST_DATA_DELETE = Action(
    "test_data:delete",
    Permission.TEST_DATA_DELETE,
    "delete test data",
    writes=True,
    allowed_when_unpaid=True,
    live_only=True,
)
TEST_MODE_READ = Action(
    "test_mode:read",
    Permission.HOME_READ,
    "view test mode",
    live_only=True,
    open_to_support=True,
)
TEST_MODE_TURN_ON = Action(
    "test_mode:turn_on", Permission.SETTINGS_WRITE, "turn on test mode", writes=True, live_only=True
)
