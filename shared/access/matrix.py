"""Roles and what each may do, as a page: written from the registries, so that it cannot say anything else."""

from collections.abc import Iterable

from shared.access.actions import ACTIONS, OPERATOR_ACTIONS, Action, OperatorAction
from shared.access.roles import OPERATOR_ROLES, ROLES, Role

HEAD = """# Roles

Written by `bulkhead docs roles` from `shared/access`; a test compares. Every action is asked for by name, in one place
(`shared/access/decision.py`), whether a page, a route, a job or the command line asks. Nobody gives, takes away or
touches a role that may do more than they may.
"""


def page() -> str:
    return "\n".join(
        [
            HEAD,
            *_section("Inside a tenant", ROLES.values(), ACTIONS.values()),
            *_section("Operators of the platform", OPERATOR_ROLES.values(), OPERATOR_ACTIONS.values()),
        ]
    )


def may(role: Role, action: Action | OperatorAction) -> bool:
    """Where the plan has it and the limit is not reached."""
    return action.permission in role.permissions


def _section(title: str, roles: Iterable[Role], actions: Iterable[Action | OperatorAction]) -> list[str]:
    known = list(roles)
    lines = [f"## {title}", "", *(f"- **{role.name}**: {role.sentence}" for role in known), ""]
    lines += [
        f"| Action | May … | {' | '.join(role.name for role in known)} |",
        "|---|---|" + "---|" * len(known),
    ]
    for action in actions:
        marks = " | ".join("yes" if may(role, action) else "" for role in known)
        lines.append(f"| `{action.name}` | {action.said} | {marks} |")
    return [*lines, ""]
