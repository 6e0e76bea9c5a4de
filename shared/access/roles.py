"""The built-in roles of both realms: which permissions, and who stands above whom."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.access.permissions import OperatorPermission as O
from shared.access.permissions import Permission as P  # noqa: N817  a table of them, read as one

_EVERYBODY = frozenset({P.HOME_READ, P.MEMBER_READ, P.NOTIFICATION_READ, P.ROLE_READ})
_ADMIN = _EVERYBODY | {
    *(P.ACCESS_READ, P.AUDIT_READ, P.MEMBER_INVITE, P.MEMBER_WRITE, P.REPORT_READ, P.ROLE_WRITE),
    *(P.SETTINGS_READ, P.SETTINGS_WRITE),
}
_BILLING = _EVERYBODY | {P.BILLING_READ, P.BILLING_WRITE, P.SETTINGS_READ}
_SUPPORT = frozenset(
    {
        *(O.BILLING_READ, O.CATALOG_READ, O.FLAG_READ, O.HOME_READ, O.JOB_READ, O.RIGHTS_EXPLAIN),
        *(O.SECURITY_READ, O.TENANT_READ, O.TENANT_RESUME, O.WEBHOOK_READ),
    }
)


@dataclass(frozen=True, slots=True)
class Role:
    key: str
    name: str
    sentence: str
    permissions: frozenset[str]


OWNER = "owner"  # the one role a tenant cannot be without
REQUIRED_PERMISSIONS = frozenset({P.HOME_READ, P.NOTIFICATION_READ})  # or its holder could not even enter
OWNER_ONLY_PERMISSIONS = frozenset(
    {P.OWNER_TRANSFER}
)  # in no role that a tenant makes itself: only owners hand over
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
            "Looks everywhere, suspends, repairs, rolls out. Manages no operators, no keys, no plans and no money.",
            frozenset(O)
            - {
                *(O.ACCOUNT_WRITE, O.BILLING_ADJUST, O.BILLING_ADJUST_ANY, O.CATALOG_WRITE, O.KEY_ROTATE),
                *(O.OPERATOR_WRITE, O.RIGHTS_WRITE),
            },
        ),
        Role(
            "billing",
            "Billing",
            "Looks into tenants, suspends them, keeps plans and who has which, gives and takes small amounts.",
            _SUPPORT
            | {
                *(O.BILLING_ADJUST, O.BILLING_RECONCILE, O.CATALOG_WRITE, O.RIGHTS_WRITE),
                *(O.TENANT_SUSPEND, O.WEBHOOK_REPLAY),
            },
        ),
        Role("support", "Support", "Looks into one tenant at a time, with a reason.", _SUPPORT),
    )
}


def can_grant(granter: frozenset[str], permissions: Iterable[str]) -> bool:
    """Nobody hands out, takes away or touches more than they hold themselves."""
    return granter.issuperset(permissions)
