"""Roles and actions: the registries decide and equal the published page."""

from pathlib import Path

import pytest

from shared.access import actions, roles_doc
from shared.access.actions import ACTIONS, OPERATOR_ACTIONS, Action, OperatorAction
from shared.access.permissions import OPERATOR_PREFIX, OperatorPermission, Permission
from shared.access.roles import OPERATOR_ROLES, ROLES, Role, can_grant
from shared.core import registry

PAGE = Path(__file__).parents[2] / "docs" / "roles.md"
# Once more by hand, and only here: a slip in the registry is not to be published as if it were meant.
EVERYBODY = {
    *("home:read", "invitation:read", "member:export", "member:leave", "member:read", "notification:read"),
    "role:read",
}
ADMIN = {
    "audit:read",
    "checklist:write",
    "decision:read",
    "member:invite",
    "member:deactivate",
    "member:remove",
    "member:set_role",
}
ADMIN |= {"settings:read", "settings:setup", "settings:write", "access:read", "audit:export"}
ADMIN |= {"service_account:end", "service_account:read", "service_account:take_seat", "service_account:write"}
ADMIN |= {"support_access:read"}
ADMIN |= {"invitation:revoke", "report:read", "role:change", "role:create", "role:delete"}
EXPECTED = {
    "owner": EVERYBODY
    | ADMIN
    | {"billing:change", "billing:export", "billing:read", "owner:transfer"}
    | {"support_access:decide"},
    "admin": EVERYBODY | ADMIN,
    "billing": EVERYBODY | {"billing:change", "billing:export", "billing:read", "settings:read"},
    "member": EVERYBODY | {"settings:read"},
    "viewer": EVERYBODY,
}
SUPPORT = {
    "op:approval:read",
    "op:billing:read",
    "op:catalog:read",
    "op:alert:subscribe",
    "op:flag:read",
    "op:health:read",
    "op:home:read",
    "op:impersonate",
    "op:job:read",
    "op:load:read",
    "op:mail:lift",
    "op:mail:read",
    "op:rights:explain",
    "op:security:read",
    "op:tenant:list",
    "op:tenant:read",
    "op:tenant:resume",
    "op:webhook:read",
}
ENGINEER = SUPPORT | {
    "op:usage:correct",
    "op:audit:read_all",
    "op:flag:write",
    "op:operator:read",
    "op:tenant:suspend",
    "op:tenant:throttle",
}
ENGINEER |= {"op:billing:reconcile", "op:job:write", "op:user:disable", "op:webhook:replay"}
ENGINEER |= {"op:impersonate:write"}
ENGINEER |= {"op:user:read_resets", "op:user:reset_factor"}
BILLING = SUPPORT | {"op:usage:correct", "op:catalog:write", "op:rights:write", "op:tenant:suspend"}
BILLING |= {"op:billing:adjust", "op:billing:reconcile", "op:webhook:replay"}
PROVISIONING = {"op:api_key:read", "op:api_key:write", "op:tenant:create"}
ENGINEER |= PROVISIONING | {"op:approval:decide", "op:flag:release"}
BILLING |= PROVISIONING | {"op:approval:decide", "op:catalog:publish", "op:price:set"}
BILLING |= {"op:finance:read"}
EXPECTED_OPERATORS = {
    "owner": ENGINEER
    | BILLING
    | {
        "op:account:write",
        "op:billing:adjust_any",
        "op:operator:manage",
        "op:key:rotate",
        "op:tenant:delete",
        "op:tenant:export",
        "op:tenant:keep",
    },
    "engineer": ENGINEER,
    "billing": BILLING,
    "support": SUPPORT,
}


# Of the platform's own modules. A product module states its roles in its manifest and nowhere else.
PLATFORM_ACTIONS = {
    value.name for value in vars(actions).values() if isinstance(value, Action | OperatorAction)
}


def may_do(role: Role, actions: dict[str, Action] | dict[str, OperatorAction]) -> set[str]:
    allowed = {name for name, action in actions.items() if roles_doc.can_perform(role, action)}
    return allowed & PLATFORM_ACTIONS


def test_published_roles_page_matches_the_registries() -> None:
    assert PAGE.read_text() == roles_doc.render_page(), (
        "write it again: .venv/bin/bulkhead docs roles > docs/roles.md"
    )


@pytest.mark.parametrize("role", ROLES)
def test_tenant_role_may_do_exactly_the_expected_actions(role: str) -> None:
    assert may_do(ROLES[role], ACTIONS) == EXPECTED[role]


@pytest.mark.parametrize("role", OPERATOR_ROLES)
def test_operator_role_may_do_exactly_the_expected_actions(role: str) -> None:
    assert may_do(OPERATOR_ROLES[role], OPERATOR_ACTIONS) == EXPECTED_OPERATORS[role]


def test_owner_roles_hold_every_permission_of_their_realm_and_none_of_the_other() -> None:
    declared = {str(permission) for module in registry.list_modules() for permission in module.permissions}
    of_operators = {permission for permission in declared if permission.startswith(OPERATOR_PREFIX)}
    assert ROLES["owner"].permissions == declared - of_operators >= frozenset(Permission)
    assert OPERATOR_ROLES["owner"].permissions == of_operators >= frozenset(OperatorPermission)
    for role in ROLES.values():
        assert role.permissions <= ROLES["owner"].permissions


def test_registries_are_sorted_by_name() -> None:
    for names in ([permission.value for permission in Permission], list(ACTIONS), list(OPERATOR_ACTIONS)):
        assert names == sorted(names)


@pytest.mark.parametrize("granter", ROLES)
@pytest.mark.parametrize("role", ROLES)
def test_role_is_grantable_only_by_roles_with_all_its_permissions(granter: str, role: str) -> None:
    expected = ROLES[role].permissions <= ROLES[granter].permissions
    assert can_grant(ROLES[granter].permissions, ROLES[role].permissions) is expected
    assert can_grant(ROLES["owner"].permissions, ROLES[role].permissions)
