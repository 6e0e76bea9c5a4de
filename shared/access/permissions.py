"""The permissions of the platform's own modules, alphabetical. A role is a set of these; an action asks for one.

A product module states its permissions in its manifest, as plain text. `roles.list_permissions` returns all of them.
"""

from enum import StrEnum

OPERATOR_PREFIX = "operator:"


class Permission(StrEnum):
    """Inside a tenant."""

    ACCESS_READ = "access:read"
    API_KEY_READ = "api_key:read"
    API_KEY_WRITE = "api_key:write"
    AUDIT_READ = "audit:read"
    BILLING_READ = "billing:read"
    BILLING_WRITE = "billing:write"
    HOME_READ = "home:read"
    JWT_ISSUER_READ = "jwt_issuer:read"
    JWT_ISSUER_WRITE = "jwt_issuer:write"
    MEMBER_INVITE = "member:invite"
    MEMBER_READ = "member:read"
    MEMBER_WRITE = "member:write"
    NOTIFICATION_READ = "notification:read"
    OWNER_TRANSFER = "owner:transfer"
    REPORT_READ = "report:read"
    ROLE_READ = "role:read"
    ROLE_WRITE = "role:write"
    SERVICE_ACCOUNT_READ = "service_account:read"
    SERVICE_ACCOUNT_WRITE = "service_account:write"
    SETTINGS_READ = "settings:read"
    SETTINGS_WRITE = "settings:write"
    TENANT_DELETE = "tenant:delete"
    TEST_DATA_DELETE = "test_data:delete"
    USAGE_READ = "usage:read"
    USAGE_WRITE = "usage:write"


class OperatorPermission(StrEnum):
    """On the platform's side; another realm, never in a tenant's role."""

    ACCOUNT_WRITE = "operator:account:write"
    API_KEY_WRITE = "operator:api_key:write"
    AUDIT_READ_ALL = "operator:audit:read_all"
    BILLING_ADJUST = "operator:billing:adjust"
    BILLING_ADJUST_ANY = "operator:billing:adjust_any"
    BILLING_READ = "operator:billing:read"
    BILLING_RECONCILE = "operator:billing:reconcile"
    CATALOG_READ = "operator:catalog:read"
    CATALOG_WRITE = "operator:catalog:write"
    FLAG_READ = "operator:flag:read"
    FLAG_WRITE = "operator:flag:write"
    HOME_READ = "operator:home:read"
    JOB_READ = "operator:job:read"
    JOB_WRITE = "operator:job:write"
    KEY_ROTATE = "operator:key:rotate"
    OPERATOR_READ = "operator:operator:read"
    OPERATOR_WRITE = "operator:operator:write"
    RIGHTS_EXPLAIN = "operator:rights:explain"
    RIGHTS_WRITE = "operator:rights:write"
    SECURITY_READ = "operator:security:read"
    TENANT_CREATE = "operator:tenant:create"
    TENANT_DELETE = "operator:tenant:delete"
    TENANT_READ = "operator:tenant:read"
    TENANT_RESUME = "operator:tenant:resume"
    TENANT_SUSPEND = "operator:tenant:suspend"
    TENANT_THROTTLE = "operator:tenant:throttle"
    USER_DISABLE = "operator:user:disable"
    USER_RESET_FACTOR = "operator:user:reset_factor"
    WEBHOOK_READ = "operator:webhook:read"
    WEBHOOK_REPLAY = "operator:webhook:replay"
