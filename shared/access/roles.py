"""The built-in roles of both realms: which permissions, and who stands above whom."""

from dataclasses import dataclass

from shared.access.permissions import OperatorPermission as O
from shared.access.permissions import Permission as P  # noqa: N817  a table of them, read as one

_EVERYBODY = frozenset({P.HOME_READ, P.MEMBER_READ, P.NOTIFICATION_READ, P.ROLE_READ})
_ADMIN = _EVERYBODY | {P.AUDIT_READ, P.MEMBER_INVITE, P.MEMBER_WRITE, P.SETTINGS_READ, P.SETTINGS_WRITE}
_BILLING = _EVERYBODY | {P.BILLING_READ, P.BILLING_WRITE, P.SETTINGS_READ}
_SUPPORT = frozenset({O.HOME_READ, O.TENANT_READ, O.TENANT_RESUME, O.SECURITY_READ, O.JOB_READ})


@dataclass(frozen=True, slots=True)
class Role:
    key: str
    name: str
    sentence: str
    permissions: frozenset[str]


OWNER = "owner"  # the one role a tenant cannot be without
ROLES = {  # from the most to the least
    role.key: role
    for role in (
        Role(OWNER, "Owner", "May do everything, also hand the organisation over.", frozenset(P)),
        Role("admin", "Admin", "Manages members and settings, reads the audit trail.", _ADMIN),
        Role("billing", "Billing", "Pays and reads invoices. Sees who works here.", _BILLING),
        Role(
            "member",
            "Member",
            "Works in the organisation. Sees who works here.",
            _EVERYBODY | {P.SETTINGS_READ},
        ),
        Role("viewer", "Viewer", "Looks, and changes nothing.", _EVERYBODY),
    )
}
OPERATOR_ROLES = {
    role.key: role
    for role in (
        Role("owner", "Owner", "Everything, also other operators.", frozenset(O)),
        Role(
            "engineer",
            "Engineer",
            "Looks everywhere, suspends, repairs. Manages no operators and no keys.",
            frozenset(O) - {O.KEY_ROTATE, O.OPERATOR_WRITE},
        ),
        Role("billing", "Billing", "Looks into tenants and suspends them.", _SUPPORT | {O.TENANT_SUSPEND}),
        Role("support", "Support", "Looks into one tenant at a time, with a reason.", _SUPPORT),
    )
}


def may_grant(granter: frozenset[str], role: str) -> bool:
    """Nobody hands out, takes away or touches more than they hold themselves."""
    return role in ROLES and ROLES[role].permissions <= granter
