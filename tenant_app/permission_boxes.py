"""Permissions in plain words, and as boxes of a form: for roles and for API keys."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from shared.access.actions import ACTIONS

GROUP_TITLES = {  # noun of a permission: what the form calls the group
    "member": "People",
    "role": "Roles",
    "settings": "Organisation",
    "owner": "Organisation",
    "access": "Insight",
    "audit": "Insight",
    "report": "Insight",
    "billing": "Billing",
    "api_key": "API keys",
    "service_account": "API keys",
}
NOT_HELD_TEXT = "You don’t have this permission, so you can’t grant it."


@dataclass(frozen=True)
class CheckboxRow:
    field: str
    label: str
    note: str
    is_checked: bool
    refusal: str


@dataclass(frozen=True)
class PermissionGroupRow:
    title: str
    checkboxes: list[CheckboxRow] = field(default_factory=list)


def permission_text(permission: str) -> str:
    """What the actions that ask for it say, the one it is named after first; "" while none does."""
    actions_for_permission = [action for action in ACTIONS.values() if action.permission == permission]
    text = ", ".join(
        action.description
        for action in sorted(
            actions_for_permission, key=lambda action: (action.name != permission, action.description)
        )
    )
    return f"{text[:1].upper()}{text[1:]}"


def checkbox_name(permission: str) -> str:
    """Name of its box in the form."""
    return f"may_{permission.replace(':', '_')}"


def group_title(permission: str) -> str:
    """What the form calls the group; a noun without a title gets one made of it."""
    noun = permission.partition(":")[0]
    return GROUP_TITLES.get(noun, f"{noun.replace('_', ' ').capitalize()}s")


def group_checkboxes(
    permissions: Iterable[str], checked: frozenset[str], refusal: Callable[[str], str]
) -> list[PermissionGroupRow]:
    """`refusal`: why the reader can't tick the box of a permission, "" where they can."""
    checkboxes_by_title: dict[str, list[CheckboxRow]] = {title: [] for title in GROUP_TITLES.values()}
    for permission in permissions:
        checkboxes_by_title.setdefault(group_title(permission), []).append(
            CheckboxRow(
                checkbox_name(permission),
                permission_text(permission),
                permission,
                permission in checked,
                refusal(permission),
            )
        )
    return [PermissionGroupRow(title, boxes) for title, boxes in checkboxes_by_title.items() if boxes]
