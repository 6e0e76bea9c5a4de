"""What members can do with API keys, and with the issuers of their own tokens."""

from shared.access.actions import Action
from shared.access.permissions import Permission

API_KEY_CREATE = Action(
    "api_key:create",
    Permission.API_KEY_WRITE,
    "create API keys",
    writes=True,
    feature="api_access",
    limit="api_keys",
)
API_KEY_READ = Action("api_key:read", Permission.API_KEY_READ, "view API keys")
API_KEY_REVOKE = Action(
    "api_key:revoke", Permission.API_KEY_WRITE, "revoke API keys", writes=True, allowed_when_unpaid=True
)
JWT_ISSUER_DELETE = Action(
    "jwt_issuer:delete",
    Permission.JWT_ISSUER_WRITE,
    "remove token issuers",
    writes=True,
    allowed_when_unpaid=True,
    live_only=True,
)
JWT_ISSUER_READ = Action("jwt_issuer:read", Permission.JWT_ISSUER_READ, "view token issuers", live_only=True)
JWT_ISSUER_WRITE = Action(
    "jwt_issuer:write",
    Permission.JWT_ISSUER_WRITE,
    "add and change token issuers",
    writes=True,
    feature="api_access",
    live_only=True,
)
API_USE = Action("api:use", Permission.HOME_READ, "use the API", feature="api_access", limit="api_calls")
