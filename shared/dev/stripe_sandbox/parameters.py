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
from typing import Any, Literal, NotRequired, Union, get_args, get_origin

import stripe.params
from stripe import RequestOptions
from typing_extensions import is_typeddict  # typing's own does not know the SDK's TypedDicts

NUMBER = r"-?\d+(\.\d+)?"
WIRE = {str: r"(?s).*", int: r"-?\d+", float: NUMBER, Decimal: NUMBER, bool: "true|false"}


def refusals(sent: dict[str, Any], params: type) -> list[str]:
    return list(_check_keys(sent, params, ""))


@cache
def keys(params: type) -> dict[str, Any]:
    names = {**vars(sys.modules[RequestOptions.__module__]), "StripeContext": Any}
    hints = typing.get_type_hints(params, localns=names, include_extras=True)
    return {key: hint for key, hint in hints.items() if key not in RequestOptions.__annotations__}


def _check_keys(sent: dict[str, Any], params: type, at: str) -> Iterator[str]:
    known = keys(params)
    yield from (f"{at}[{key}]: unknown parameter" for key in sent if key not in known)
    for key, hint in known.items():
        if key in sent:
            yield from _check(sent[key], hint, f"{at}[{key}]")
        elif get_origin(hint) is not NotRequired:
            yield f"{at}[{key}]: missing parameter"


def _check(sent: Any, hint: Any, at: str) -> Iterator[str]:
    kind, args = get_origin(hint) or hint, get_args(hint)
    container: Any = list if kind is list else dict
    if kind is NotRequired:
        yield from _check(sent, args[0], at)
    elif kind in (Union, UnionType):
        # Literal | str is an "open" enum: drop the str; Literal[""] | X only means "empty clears it"
        is_enum = any(get_origin(option) is Literal and any(get_args(option)) for option in args)
        options = [option for option in args if not (is_enum and option is str)]
        yield from min((list(_check(sent, option, at)) for option in options), key=len)
    elif kind is Literal:
        if sent not in args:
            yield f"{at}: {sent!r} is none of {list(args)}"
    elif kind in WIRE:
        if not isinstance(sent, str) or not re.fullmatch(WIRE[kind], sent):
            yield f"{at}: {sent!r} is not {kind.__name__}"
    elif not isinstance(sent, container):
        yield f"{at}: unexpected {type(sent).__name__}"
    elif kind is list:
        for i, item in enumerate(sent):
            yield from _check(item, args[0], f"{at}[{i}]")
    elif is_typeddict(kind):
        yield from _check_keys(sent, kind, at)


def named(name: str) -> type:
    """`CustomerCreateParams`, or with its folder: `checkout.SessionCreateParams`."""
    found: Any = stripe.params
    for part in name.split("."):
        found = getattr(found, part)
    assert isinstance(found, type)
    return found


def typed(sent: dict[str, Any], params: type) -> dict[str, Any]:
    """Text to what the types say. Only for what nothing was refused of."""
    known = keys(params)
    return {key: _read(value, known[key]) for key, value in sent.items()}


def _read(sent: Any, hint: Any) -> Any:
    kind, args = get_origin(hint) or hint, get_args(hint)
    if kind is NotRequired:
        return _read(sent, args[0])
    if kind in (Union, UnionType):
        fits = [option for option in args if not list(_check(sent, option, ""))]
        return _read(sent, fits[0])
    if kind is bool:
        return sent == "true"
    if kind in (int, float, Decimal):
        return kind(sent)
    if kind is list:
        return [_read(item, args[0]) for item in sent]
    return typed(sent, kind) if is_typeddict(kind) else sent
