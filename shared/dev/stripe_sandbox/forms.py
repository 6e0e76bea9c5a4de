"""Bodies and queries as Stripe writes them: `items[0][price]=x&expand[]=data.customer`."""

import re
from typing import Any
from urllib.parse import parse_qsl

from shared.dev.stripe_sandbox.refusals import ApiError


def decode_form(text: str) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        head, brackets = re.match(r"([^\[]*)(.*)", name, re.DOTALL).groups()  # type: ignore[union-attr]  # it always matches
        path = [head, *re.findall(r"\[([^\]]*)\]", brackets)]
        if not head or "".join(f"[{part}]" for part in path[1:]) != brackets:
            raise ApiError(f"Invalid request: {name} isn't a parameter", param=name)
        _set_path(tree, path, value)
    return {key: _convert_lists(value) for key, value in tree.items()}


def _set_path(tree: dict[str, Any], path: list[str], value: str) -> None:
    for index, part in enumerate(path[:-1]):
        key = part or str(len(tree))
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ApiError("Invalid request: a parameter is both a value and a hash", param=path[index])
    tree[path[-1] or str(len(tree))] = value


def _convert_lists(value: Any) -> Any:
    """A hash whose keys are 0, 1, 2 … was a list."""
    if not isinstance(value, dict):
        return value
    if value and all(key.isdecimal() for key in value):
        return [_convert_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _convert_lists(item) for key, item in value.items()}


def list_leaves(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Every leaf with its dotted path; places in lists left out."""
    if isinstance(value, dict):
        return [
            leaf
            for key, item in value.items()
            for leaf in list_leaves(item, f"{path}.{key}" if path else str(key))
        ]
    if isinstance(value, list):
        return [leaf for item in value for leaf in list_leaves(item, path)]
    return [(path, str(value))]
