"""The manifest of API keys and token issuers."""

from shared.access.permissions import Permission
from shared.access.roles import ADMINS
from shared.api_keys import actions, api, issuer_api, key_usage, keys, models
from shared.audit.event_types import AuditAction, with_name
from shared.core.registry import Module, OperatorIndex, TableContract
from shared.entitlements.limits import LimitKind

MODULE = Module(
    name="api_keys",
    models=[models.ApiKey, models.IdempotencyKey, models.JwtIssuer],
    permissions={
        Permission.API_KEY_READ: ADMINS,
        Permission.API_KEY_WRITE: ADMINS,
        Permission.JWT_ISSUER_READ: ADMINS,
        Permission.JWT_ISSUER_WRITE: ADMINS,
    },
    actions=[
        actions.API_KEY_CREATE,
        actions.API_KEY_READ,
        actions.API_KEY_REVOKE,
        actions.API_USE,
        actions.JWT_ISSUER_DELETE,
        actions.JWT_ISSUER_READ,
        actions.JWT_ISSUER_WRITE,
    ],
    limits=[LimitKind("api_keys", "API keys", "key", "keys", step="Revoke a key", usage=key_usage.KEY_USAGE)],
    surfaces={"/t/[tenant]/api-keys": actions.API_KEY_READ},
    audit={
        AuditAction.API_KEY_CHANGED: with_name("changed the API key"),
        AuditAction.API_KEY_CREATED: with_name("created the API key"),
        AuditAction.API_KEY_REVOKED: with_name("revoked the API key"),
        AuditAction.API_KEY_ROTATED: with_name("rotated the API key"),
        AuditAction.JWT_ISSUER_CHANGED: with_name("changed the token issuer"),
        AuditAction.JWT_ISSUER_CREATED: with_name("added the token issuer"),
        AuditAction.JWT_ISSUER_DELETED: with_name("removed the token issuer"),
    },
    recorded={
        actions.API_KEY_CREATE.name: ("api_key.changed", "api_key.created", "api_key.rotated"),
        actions.API_KEY_REVOKE.name: ("api_key.revoked",),
        actions.JWT_ISSUER_DELETE.name: ("jwt_issuer.deleted",),
        actions.JWT_ISSUER_WRITE.name: ("jwt_issuer.changed", "jwt_issuer.created"),
    },
    endpoints=[*api.ENDPOINTS, *issuer_api.ENDPOINTS],
    on_membership_end=keys.end_keys_of_members,
    tables={
        models.ApiKey: TableContract(
            export=True,
            personal=("user_id", "created_by_name", "last_used_address", "revoked_by"),
            operator_indexes=(
                OperatorIndex(
                    name="api_key_origins_of_all_tenants",
                    columns=("origins",),
                    reason="A preflight request has no key yet: whether any key lists its origin",
                    query="api_keys.key_origins.is_listed",
                ),
            ),
        ),
        models.IdempotencyKey: TableContract(export=False, retention="a day", sealed=("body",)),
        models.JwtIssuer: TableContract(export=True, personal=("created_by_name",)),
    },
)
