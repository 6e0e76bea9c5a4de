"""Refuse what Stripe would refuse: hold a decoded form body to the SDK's parameter types.

On the wire every leaf is text; `items[0][price]=x` is decoded to nested dicts and lists first. What is not refused
is then read as the types say, so that verbs see numbers and booleans.
"""

import re
import sys
import typing
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Any, Literal, NamedTuple, NotRequired, Union, get_args, get_origin

import stripe.params
from stripe import RequestOptions
from typing_extensions import is_typeddict  # typing's own does not know the SDK's TypedDicts

NUMBER_PATTERN = r"-?\d+(\.\d+)?"
WIRE_PATTERNS = {
    str: r"(?s).*",
    int: r"-?\d+",
    float: NUMBER_PATTERN,
    Decimal: NUMBER_PATTERN,
    bool: "true|false",
}


Path = tuple[str, ...]  # keys from the outside in


class ParamError(NamedTuple):
    path: Path
    kind: Literal["unknown", "missing", "invalid"]
    text: str = ""  # what is wrong with an invalid value

    @property
    def param(self) -> str:
        """As Stripe writes it: "items[0][price]"."""
        first_key, *nested_keys = self.path
        return first_key + "".join(f"[{key}]" for key in nested_keys)


def find_errors(values: dict[str, Any], params_type: type) -> list[ParamError]:
    return list(_check_keys(values, params_type, ()))


@cache
def get_param_types(params_type: type) -> dict[str, Any]:
    names = {**vars(sys.modules[RequestOptions.__module__]), "StripeContext": Any}
    hints = typing.get_type_hints(params_type, localns=names, include_extras=True)
    return {key: hint for key, hint in hints.items() if key not in RequestOptions.__annotations__}


def _check_keys(values: dict[str, Any], params_type: type, path: Path) -> Iterator[ParamError]:
    types = get_param_types(params_type)
    yield from (ParamError((*path, key), "unknown") for key in values if key not in types)
    for key, hint in types.items():
        if key in values:
            yield from _check_value(values[key], hint, (*path, key))
        elif get_origin(hint) is not NotRequired:
            yield ParamError((*path, key), "missing")


def _check_value(value: Any, hint: Any, path: Path) -> Iterator[ParamError]:
    kind, args = get_origin(hint) or hint, get_args(hint)
    container: Any = list if kind is list else dict
    if kind is NotRequired:
        yield from _check_value(value, args[0], path)
    elif kind in (Union, UnionType):
        # Literal | str is an "open" enum: drop the str; Literal[""] | X only means "empty clears it"
        is_enum = any(get_origin(option) is Literal and any(get_args(option)) for option in args)
        options = [option for option in args if not (is_enum and option is str)]
        yield from min((list(_check_value(value, option, path)) for option in options), key=len)
    elif kind is Literal:
        if value not in args:
            yield ParamError(path, "invalid", f"{value!r} is none of {list(args)}")
    elif kind in WIRE_PATTERNS:
        if not isinstance(value, str) or not re.fullmatch(WIRE_PATTERNS[kind], value):
            yield ParamError(path, "invalid", f"{value!r} is not {kind.__name__}")
    elif not isinstance(value, container):
        yield ParamError(path, "invalid", f"unexpected {type(value).__name__}")
    elif kind is list:
        for i, item in enumerate(value):
            yield from _check_value(item, args[0], (*path, str(i)))
    elif is_typeddict(kind):
        yield from _check_keys(value, kind, path)


def find_params_type(name: str) -> type:
    """`CustomerCreateParams`, or with its folder: `checkout.SessionCreateParams`."""
    resolved: Any = stripe.params
    for part in name.split("."):
        resolved = getattr(resolved, part)
    assert isinstance(resolved, type)
    return resolved


def convert_values(values: dict[str, Any], params_type: type) -> dict[str, Any]:
    """Text to what the types say. Only for what nothing was refused of."""
    types = get_param_types(params_type)
    return {key: _convert_value(value, types[key]) for key, value in values.items()}


def _convert_value(value: Any, hint: Any) -> Any:
    kind, args = get_origin(hint) or hint, get_args(hint)
    if kind is NotRequired:
        return _convert_value(value, args[0])
    if kind in (Union, UnionType):
        matching_options = [option for option in args if not list(_check_value(value, option, ()))]
        return _convert_value(value, matching_options[0])
    if kind is bool:
        return value == "true"
    if kind in (int, float, Decimal):
        return kind(value)
    if kind is list:
        return [_convert_value(item, args[0]) for item in value]
    return convert_values(value, kind) if is_typeddict(kind) else value
