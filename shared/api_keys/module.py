"""The manifest of API keys."""

from shared.access.permissions import Permission
from shared.access.roles import ADMINS
from shared.api_keys import actions, api, keys, models
from shared.audit.event_types import AuditAction, with_name
from shared.core.registry import Module, TableContract

MODULE = Module(
    name="api_keys",
    models=[models.ApiKey, models.IdempotencyKey],
    permissions={Permission.API_KEY_READ: ADMINS, Permission.API_KEY_WRITE: ADMINS},
    actions=[actions.API_KEY_CREATE, actions.API_KEY_READ, actions.API_KEY_REVOKE, actions.API_USE],
    surfaces={"/t/[tenant]/api-keys": actions.API_KEY_READ},
    audit={
        AuditAction.API_KEY_CHANGED: with_name("changed the API key"),
        AuditAction.API_KEY_CREATED: with_name("created the API key"),
        AuditAction.API_KEY_REVOKED: with_name("revoked the API key"),
        AuditAction.API_KEY_ROTATED: with_name("rotated the API key"),
    },
    recorded={
        actions.API_KEY_CREATE.name: ("api_key.changed", "api_key.created", "api_key.rotated"),
        actions.API_KEY_REVOKE.name: ("api_key.revoked",),
    },
    endpoints=api.ENDPOINTS,
    on_membership_end=keys.end_keys_of_members,
    tables={
        models.ApiKey: TableContract(
            export=True, personal=("user_id", "created_by_name", "last_used_address", "revoked_by")
        ),
        models.IdempotencyKey: TableContract(export=False, retention="a day", sealed=("body",)),
    },
)
