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

JSON_TYPES: dict[Any, Any] = {bool: bool, int: int, float: (int, float), str: str, Decimal: str}
API_VERSION = stripe.api_version
BLANK_VALUES: dict[Any, Any] = {bool: False, int: 0, float: 0.0, str: "unset", Decimal: "0"}
EMPTY_LIST = {"object": "list", "data": [], "has_more": False, "url": "unset"}


def find_violations(body: dict[str, Any]) -> list[str]:
    kind = body.get("object")
    if kind == "list":
        problems = list(_check_value(body, ListObject[Any], "list"))
        return problems + [problem for item in body.get("data", []) for problem in find_violations(item)]
    if kind not in load_classes():
        return [f"no SDK class for object {kind!r}"]
    problems = list(_check_value(body, load_classes()[kind], kind))
    if kind == "event":  # the SDK leaves the enclosed object untyped
        problems += find_violations(body["data"]["object"])
    return problems


def build_skeleton(kind: str, **values: Any) -> dict[str, Any]:
    """A legal object; a string left "unset" is a field the sandbox forgot to fill."""
    return {**json.loads(_build_blank_json(kind)), **values}


@cache
def _build_blank_json(kind: str) -> str:
    return json.dumps(_build_blank(load_classes()[kind]))


@cache
def load_classes() -> dict[str, Any]:
    """The SDK's classes by the `object` string of their responses."""
    classes_by_kind = {}
    for info in pkgutil.walk_packages(stripe.__path__, "stripe."):
        if not any(part in info.name for part in (".params", ".events", "_service")):
            for cls in vars(importlib.import_module(info.name)).values():
                name = getattr(cls, "OBJECT_NAME", None)
                if isinstance(name, str) and cls.__module__ == info.name and _has_field(cls, "object"):
                    classes_by_kind[name] = cls
    return classes_by_kind


def _has_field(cls: Any, name: str) -> bool:
    """As `get_fields` would say, which reads the module's source: most modules are never needed."""
    return any(name in vars(base).get("__annotations__", {}) for base in cls.__mro__)


@cache
def get_fields(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, localns=_load_names(cls.__module__))
    return {k: t for k, t in hints.items() if k[0] != "_" and get_origin(t) is not typing.ClassVar}


@cache
def _load_names(module: str) -> dict[str, Any]:
    """A module's globals plus what it imports for type checkers only."""
    names = {**vars(typing), **vars(sys.modules[module])}
    for block in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for line in block.body:
                if isinstance(line, ast.ImportFrom) and line.module and ".params" not in line.module:
                    source = importlib.import_module(line.module)
                    names |= {a.asname or a.name: getattr(source, a.name) for a in line.names}
    return names


def _check_value(value: Any, hint: Any, path: str) -> Iterator[str]:
    kind, args = get_origin(hint) or hint, get_args(hint)
    container: Any = list if kind is list else dict
    if kind is Any:
        return
    if kind is Union:
        yield from _check_union(value, args, path)
    elif kind is Literal:
        if value not in args:
            yield f"{path}: {value!r} is none of {list(args)}"
    elif kind in JSON_TYPES:
        if not isinstance(value, JSON_TYPES[kind]) or (isinstance(value, bool) and kind is not bool):
            yield f"{path}: {value!r} is not {kind.__name__}"
    elif not isinstance(value, container):
        yield f"{path}: unexpected {type(value).__name__}"
    elif kind is list:
        for i, item in enumerate(value):
            yield from _check_value(item, args[0], f"{path}[{i}]")
    elif kind is ListObject:
        yield from (f"{path}.{key}: missing" for key in EMPTY_LIST if key not in value)
        for i, item in enumerate(value.get("data", [])):
            yield from _check_value(item, args[0], f"{path}.data[{i}]")
    elif kind is UntypedStripeObject:
        for key, item in value.items():
            yield from _check_value(item, args[0], f"{path}.{key}")
    else:
        yield from _check_keys(value, get_fields(kind), path)


def _check_union(value: Any, options: tuple[Any, ...], path: str) -> Iterator[str]:
    if value is None and type(None) in options:
        return
    enums = [option for option in options if get_origin(option) is Literal]
    if enums and isinstance(value, str):  # "open" enums are Literal | str: hold them to the Literal
        options = tuple(enums)
    yield from min(
        (list(_check_value(value, option, path)) for option in options if option is not type(None)), key=len
    )


def _check_keys(value: dict[str, Any], hints: dict[str, Any], path: str) -> Iterator[str]:
    yield from (f"{path}.{key}: unknown at this API version" for key in value if key not in hints)
    for key, hint in hints.items():
        if key in value:
            yield from _check_value(value[key], hint, f"{path}.{key}")
        elif type(None) not in get_args(hint) and not value.get("deleted"):
            yield f"{path}.{key}: missing"


def _build_blank(hint: Any) -> Any:
    kind, args = get_origin(hint) or hint, get_args(hint)
    if kind is Union:
        enums = [option for option in args if get_origin(option) is Literal]
        return None if type(None) in args else _build_blank((enums or args)[0])
    if kind is Literal:
        return args[0]
    if kind in BLANK_VALUES or kind is list or kind is ListObject:
        return BLANK_VALUES.get(kind, [] if kind is list else dict(EMPTY_LIST))
    if kind is UntypedStripeObject:
        return {}
    return {
        name: _build_blank(field_hint) for name, field_hint in get_fields(kind).items() if name != "deleted"
    }
