"""The built-in roles of both realms: which permissions, and who stands above whom."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.access.permissions import OPERATOR_PREFIX, Permission
from shared.core import registry
from shared.core.registry import Module


@dataclass(frozen=True, slots=True)
class Role:
    key: str
    name: str
    sentence: str
    permissions: frozenset[str] = frozenset()
    version: int = 1  # of the row of a custom role


OWNER = "owner"  # the one role a tenant cannot be without
# Groups of built-in roles, for the permissions in manifests. Owners have every permission without being named.
EVERYBODY = ("admin", "billing", "member", "viewer")
MEMBERS = ("admin", "member")
ADMINS = ("admin",)
SUPPORT = ("engineer", "billing", "support")
ENGINEERS = ("engineer",)
REQUIRED_PERMISSIONS = frozenset(
    {Permission.HOME_READ, Permission.NOTIFICATION_READ}
)  # or its holder could not even enter
OWNER_ONLY_PERMISSIONS = frozenset(
    {Permission.OWNER_TRANSFER, Permission.SUPPORT_ACCESS_DECIDE, Permission.TEST_DATA_DELETE}
)  # in no role that a tenant makes itself, and in no key
# From the most to the least. The permissions come from the manifests.
ROLES = {
    role.key: role
    for role in (
        Role(OWNER, "Owner", "Full access, including transferring ownership."),
        Role("admin", "Admin", "Manages members and settings, and can view the audit log."),
        Role("billing", "Billing", "Manages billing and invoices, and can see members."),
        Role("member", "Member", "Works in the product and can see members."),
        Role("viewer", "Viewer", "View only."),
    )
}
OPERATOR_ROLES = {
    role.key: role
    for role in (
        Role("owner", "Owner", "Full access, including managing operators."),
        Role(
            "engineer",
            "Engineer",
            "Views everything, suspends tenants, retries failed work and rolls out flags. Can’t manage operators, keys, plans or balances.",
        ),
        Role(
            "billing",
            "Billing",
            "Opens and suspends tenants, manages plans and who is on them, issues small credits and charges.",
        ),
        Role("support", "Support", "Opens one tenant at a time, with a reason."),
    )
}


@registry.each_module
def _give_permissions(module: Module) -> None:
    """Puts the permissions of a manifest into the built-in roles."""
    for permission, role_keys in module.permissions.items():
        roles = OPERATOR_ROLES if permission.startswith(OPERATOR_PREFIX) else ROLES
        for key in (OWNER, *role_keys):
            role = roles[key]
            roles[key] = Role(role.key, role.name, role.sentence, role.permissions | {str(permission)})


def list_permissions() -> list[str]:
    """Every permission inside a tenant, alphabetical: the ones of all manifests."""
    return sorted(ROLES[OWNER].permissions)


def can_grant(granter: frozenset[str], permissions: Iterable[str]) -> bool:
    """Whether someone with the permissions `granter` can assign, change or remove a role with `permissions`."""
    return granter.issuperset(permissions)
