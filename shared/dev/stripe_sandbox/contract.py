"""The pinned SDK's own types as contract: judge Stripe-shaped JSON, and build legal blanks.

The classes are generated for exactly one API version, so no fixture file is committed.
Blind spot: the SDK writes Optional for "may be null" and for "may be absent" alike,
so a missing nullable key looks legal.
"""

import ast
import importlib
import inspect
import json
import pkgutil
import sys
import typing
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import stripe
from stripe import ListObject
from stripe._stripe_object import UntypedStripeObject

JSON: dict[Any, Any] = {bool: bool, int: int, float: (int, float), str: str, Decimal: str}
API_VERSION = stripe.api_version
BLANK: dict[Any, Any] = {bool: False, int: 0, float: 0.0, str: "unset", Decimal: "0"}
LIST = {"object": "list", "data": [], "has_more": False, "url": "unset"}


def violations(body: dict[str, Any]) -> list[str]:
    kind = body.get("object")
    if kind == "list":
        found = list(_check(body, ListObject[Any], "list"))
        return found + [each for item in body.get("data", []) for each in violations(item)]
    if kind not in classes():
        return [f"no SDK class for object {kind!r}"]
    found = list(_check(body, classes()[kind], kind))
    if kind == "event":  # the SDK leaves the enclosed object untyped
        found += violations(body["data"]["object"])
    return found


def skeleton(kind: str, **known: Any) -> dict[str, Any]:
    """A legal object; a string left "unset" is a field the sandbox forgot to fill."""
    return {**json.loads(_blank_text(kind)), **known}


@cache
def _blank_text(kind: str) -> str:
    return json.dumps(_blank(classes()[kind]))


@cache
def classes() -> dict[str, Any]:
    """The SDK's classes by the `object` string of their responses."""
    found = {}
    for info in pkgutil.walk_packages(stripe.__path__, "stripe."):
        if not any(part in info.name for part in (".params", ".events", "_service")):
            for cls in vars(importlib.import_module(info.name)).values():
                name = getattr(cls, "OBJECT_NAME", None)
                if isinstance(name, str) and cls.__module__ == info.name and "object" in fields(cls):
                    found[name] = cls
    return found


@cache
def fields(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, localns=_names(cls.__module__))
    return {k: t for k, t in hints.items() if k[0] != "_" and get_origin(t) is not typing.ClassVar}


@cache
def _names(module: str) -> dict[str, Any]:
    """A module's globals plus what it imports for type checkers only."""
    names = {**vars(typing), **vars(sys.modules[module])}
    for block in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for line in block.body:
                if isinstance(line, ast.ImportFrom) and line.module and ".params" not in line.module:
                    source = importlib.import_module(line.module)
                    names |= {a.asname or a.name: getattr(source, a.name) for a in line.names}
    return names


def _check(value: Any, hint: Any, at: str) -> Iterator[str]:
    kind, args = get_origin(hint) or hint, get_args(hint)
    container: Any = list if kind is list else dict
    if kind is Any:
        return
    if kind is Union:
        yield from _check_union(value, args, at)
    elif kind is Literal:
        if value not in args:
            yield f"{at}: {value!r} is none of {list(args)}"
    elif kind in JSON:
        if not isinstance(value, JSON[kind]) or (isinstance(value, bool) and kind is not bool):
            yield f"{at}: {value!r} is not {kind.__name__}"
    elif not isinstance(value, container):
        yield f"{at}: unexpected {type(value).__name__}"
    elif kind is list:
        for i, item in enumerate(value):
            yield from _check(item, args[0], f"{at}[{i}]")
    elif kind is ListObject:
        yield from (f"{at}.{key}: missing" for key in LIST if key not in value)
        for i, item in enumerate(value.get("data", [])):
            yield from _check(item, args[0], f"{at}.data[{i}]")
    elif kind is UntypedStripeObject:
        for key, item in value.items():
            yield from _check(item, args[0], f"{at}.{key}")
    else:
        yield from _check_keys(value, fields(kind), at)


def _check_union(value: Any, options: tuple[Any, ...], at: str) -> Iterator[str]:
    if value is None and type(None) in options:
        return
    enums = [option for option in options if get_origin(option) is Literal]
    if enums and isinstance(value, str):  # "open" enums are Literal | str: hold them to the Literal
        options = tuple(enums)
    yield from min((list(_check(value, o, at)) for o in options if o is not type(None)), key=len)


def _check_keys(value: dict[str, Any], known: dict[str, Any], at: str) -> Iterator[str]:
    yield from (f"{at}.{key}: unknown at this API version" for key in value if key not in known)
    for key, hint in known.items():
        if key in value:
            yield from _check(value[key], hint, f"{at}.{key}")
        elif type(None) not in get_args(hint) and not value.get("deleted"):
            yield f"{at}.{key}: missing"


def _blank(hint: Any) -> Any:
    kind, args = get_origin(hint) or hint, get_args(hint)
    if kind is Union:
        enums = [option for option in args if get_origin(option) is Literal]
        return None if type(None) in args else _blank((enums or args)[0])
    if kind is Literal:
        return args[0]
    if kind in BLANK or kind is list or kind is ListObject:
        return BLANK.get(kind, [] if kind is list else dict(LIST))
    if kind is UntypedStripeObject:
        return {}
    return {name: _blank(of) for name, of in fields(kind).items() if name != "deleted"}
