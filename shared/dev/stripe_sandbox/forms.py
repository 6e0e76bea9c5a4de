"""Bodies and queries as Stripe writes them: `items[0][price]=x&expand[]=data.customer`."""

import re
from typing import Any
from urllib.parse import parse_qsl

from shared.dev.stripe_sandbox.refusals import Refusal


def decode(text: str) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        head, rest = re.match(r"([^\[]*)(.*)", name, re.DOTALL).groups()  # type: ignore[union-attr]  # it always matches
        path = [head, *re.findall(r"\[([^\]]*)\]", rest)]
        if not head or "".join(f"[{part}]" for part in path[1:]) != rest:
            raise Refusal(f"Invalid request: {name} is no parameter", param=name)
        _plant(tree, path, value)
    return {key: _lists(value) for key, value in tree.items()}


def _plant(tree: dict[str, Any], path: list[str], value: str) -> None:
    for at, part in enumerate(path[:-1]):
        key = part or str(len(tree))
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise Refusal("Invalid request: a parameter is both a value and a hash", param=path[at])
    tree[path[-1] or str(len(tree))] = value


def _lists(value: Any) -> Any:
    """A hash whose keys are 0, 1, 2 … was a list."""
    if not isinstance(value, dict):
        return value
    if value and all(key.isdecimal() for key in value):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _lists(each) for key, each in value.items()}


def leaves(sent: Any, path: str = "") -> list[tuple[str, str]]:
    """Every leaf with its dotted path; places in lists left out."""
    if isinstance(sent, dict):
        return [
            leaf for key, each in sent.items() for leaf in leaves(each, f"{path}.{key}" if path else str(key))
        ]
    if isinstance(sent, list):
        return [leaf for each in sent for leaf in leaves(each, path)]
    return [(path, str(sent))]
