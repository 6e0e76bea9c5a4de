"""Roles and what each may do, as a page: written from the registries, so that it cannot say anything else."""

from collections.abc import Iterable

from shared.access.actions import ACTIONS, OPERATOR_ACTIONS, Action, OperatorAction
from shared.access.roles import OPERATOR_ROLES, ROLES, Role

HEADER = """# Roles

Written by `bulkhead docs roles` from `shared/access`; a test compares. Every action is asked for by name, in one place
(`shared/access/decision.py`), whether a page, a route, a job or the command line asks. Nobody gives, takes away or
touches a role that may do more than they may.
"""


def render_page() -> str:
    return "\n".join(
        [
            HEADER,
            *_render_section("Inside a tenant", ROLES.values(), ACTIONS.values()),
            *_render_section("Operators of the platform", OPERATOR_ROLES.values(), OPERATOR_ACTIONS.values()),
        ]
    )


def can_perform(role: Role, action: Action | OperatorAction) -> bool:
    """Where the plan has it and the limit is not reached."""
    return action.permission in role.permissions


def _render_section(
    title: str, roles: Iterable[Role], actions: Iterable[Action | OperatorAction]
) -> list[str]:
    columns = list(roles)
    lines = [f"## {title}", "", *(f"- **{role.name}**: {role.sentence}" for role in columns), ""]
    lines += [
        f"| Action | May … | {' | '.join(role.name for role in columns)} |",
        "|---|---|" + "---|" * len(columns),
    ]
    for action in actions:
        cells = " | ".join("yes" if can_perform(role, action) else "" for role in columns)
        lines.append(f"| `{action.name}` | {action.description} | {cells} |")
    return [*lines, ""]
