"""The documentation page of all roles and their permissions, rendered from the registries."""

from collections.abc import Iterable, Mapping

from shared.access.actions import ACTIONS, OPERATOR_ACTIONS, Action, OperatorAction
from shared.access.permissions import OperatorPermission, Permission
from shared.access.roles import OPERATOR_ROLES, ROLES, Role
from shared.core import registry

HEADER = """# Roles

Written by `bulkhead docs roles` from the manifests of all modules; a test compares. Every action is checked by name, in one place
(`shared/access/decision.py`), for pages, routes, jobs and the command line alike. Members can only grant, change or revoke
roles whose permissions they have themselves.
"""


def render_page() -> str:
    """The whole page, in Markdown. The registry has to be filled."""
    return "\n".join(
        [
            HEADER,
            *_render_realm("Inside a tenant", ROLES, ACTIONS),
            *_render_realm("Operators of the platform", OPERATOR_ROLES, OPERATOR_ACTIONS),
        ]
    )


def can_perform(role: Role, action: Action | OperatorAction) -> bool:
    """Whether the role has the permission; plan and limits aren't checked."""
    return action.permission in role.permissions


def _render_realm(
    title: str, roles: Mapping[str, Role], actions: Mapping[str, Action | OperatorAction]
) -> list[str]:
    columns = list(roles.values())
    return [
        *(f"## {title}", "", *(f"- **{role.name}**: {role.sentence}" for role in columns), ""),
        *_render_visibility(columns),
        *_render_pages(columns, actions),
        *_render_actions(columns, actions.values()),
    ]


def _render_visibility(roles: Iterable[Role]) -> list[str]:
    """Billing and audit log, one line a role."""
    lines = [f"| {role.name} | {_billing_text(role)} | {_audit_text(role)} |" for role in roles]
    return ["| Role | Billing | Audit log |", "|---|---|---|", *lines, ""]


def _billing_text(role: Role) -> str:
    reads = role.permissions & {Permission.BILLING_READ, OperatorPermission.BILLING_READ}
    changes = role.permissions & {Permission.BILLING_WRITE, OperatorPermission.BILLING_ADJUST}
    return "reads and changes" if reads and changes else "reads" if reads else "hidden"


def _audit_text(role: Role) -> str:
    if OperatorPermission.AUDIT_READ_ALL in role.permissions:
        return "reads every tenant’s, for a reason; their changes are recorded with a reason"
    if OperatorPermission.TENANT_READ in role.permissions:
        return "reads one tenant’s, for a reason; their changes are recorded with a reason"
    reads = "reads" if Permission.AUDIT_READ in role.permissions else "hidden"
    return f"{reads}; their changes are recorded"


def _render_pages(roles: list[Role], actions: Mapping[str, Action | OperatorAction]) -> list[str]:
    surfaces = {
        route: action
        for module in registry.list_modules()
        for route, action in module.surfaces.items()
        if action.name in actions
    }
    lines = _render_head("Page", "Opened by", roles)
    for route, action in sorted(surfaces.items()):
        lines.append(f"| `{route}` | `{action.name}` | {_render_cells(roles, action)} |")
    return [*lines, ""]


def _render_actions(roles: list[Role], actions: Iterable[Action | OperatorAction]) -> list[str]:
    recorded = {
        name: event_types
        for module in registry.list_modules()
        for name, event_types in module.recorded.items()
    }
    lines = _render_head("Action", "Allows to", roles, "Recorded as")
    for action in actions:
        events = ", ".join(f"`{event_type}`" for event_type in recorded.get(action.name, ()))
        lines.append(
            f"| `{action.name}` | {action.description} | {_render_cells(roles, action)} | {events} |"
        )
    return [*lines, ""]


def _render_head(first: str, second: str, roles: list[Role], *last: str) -> list[str]:
    titles = [first, second, *(role.name for role in roles), *last]
    return [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]


def _render_cells(roles: list[Role], action: Action | OperatorAction) -> str:
    return " | ".join("yes" if can_perform(role, action) else "" for role in roles)
