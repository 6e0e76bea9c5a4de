"""Rights are compiled once for actions that require the same."""

from dataclasses import fields, replace
from typing import Any

import pytest

from shared.access.actions import ACTIONS, Action
from shared.entitlements.compiled_rights import _get_requirements

# Looked at before the tenant layers (permission), after them (limit), or never.
# `live_only`: `tenancy.siblings` refuses it in test mode, whatever the compiled rights of the live tenant say.
# `open_to_support`: the decision refuses it in a support session, whatever the tenant has.
NOT_OF_TENANT_LAYERS = {"name", "permission", "description", "limit", "live_only", "open_to_support"}
FIELDS = {field.name for field in fields(Action) if field.init}  # the others follow from these
OTHER_VALUES: dict[str, Any] = {"str": "other", "bool": True}


@pytest.mark.parametrize("name", sorted(FIELDS - NOT_OF_TENANT_LAYERS))
def test_actions_that_differ_in_a_requirement_do_not_share_a_verdict(name: str) -> None:
    action = next(action for action in ACTIONS.values() if not getattr(action, name))
    kind = next(str(field.type) for field in fields(Action) if field.name == name)
    other = replace(action, **{name: OTHER_VALUES[kind.removeprefix("<class '").removesuffix("'>")]})
    assert _get_requirements(other) != _get_requirements(action)
