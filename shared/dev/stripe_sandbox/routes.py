"""Which paths exist, what Stripe's types say of their parameters, and which of these we implement."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.dev.stripe_sandbox.forms import leaves
from shared.dev.stripe_sandbox.parameters import named, refusals, typed
from shared.dev.stripe_sandbox.refusals import Refusal, Unbuilt
from shared.dev.stripe_sandbox.store import Account, Object, visible

PAGING = "limit starting_after ending_before expand"


@dataclass
class Call:
    account: Account
    path: str
    ids: dict[str, str]
    sent: dict[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        return self.sent.get(name, default)


Act = Callable[[Call], Object]


@dataclass(frozen=True)
class Route:
    method: str
    path: re.Pattern[str]
    params: str
    takes: dict[str, frozenset[str]]  # dotted path -> values, none: any
    act: Act

    def read(self, sent: dict[str, Any]) -> dict[str, Any]:
        """The parameters, typed. What Stripe does not know is 400, what only we do not know 501."""
        params = named(self.params)
        if found := refusals(sent, params):
            raise _refused(found)
        for path, value in leaves(sent):
            if not self._takes(path, value):
                raise Unbuilt(f"{self.method} {self.path.pattern} with {path}={value}")
        return typed(sent, params)

    def _takes(self, path: str, value: str) -> bool:
        parts = path.split(".")
        for end in range(1, len(parts) + 1):
            values = self.takes.get(".".join(parts[:end]))
            if values is not None:
                return not values or value in values
        # an empty value clears a hash, of which we know at least one key
        return value == "" and any(known.startswith(f"{path}.") for known in self.takes)


ROUTES: list[Route] = []


def route(method: str, path: str, params: str, takes: str = "") -> Callable[[Act], Act]:
    """`takes`: the parameters we implement, dotted; `mode=setup|subscription` names the only values."""
    known = {}
    for each in f"{takes} expand".split():
        name, _, values = each.partition("=")
        known[name] = frozenset(values.split("|")) if values else frozenset()
    pattern = re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path))

    def register(act: Act) -> Act:
        ROUTES.append(Route(method, pattern, params, known, act))
        return act

    return register


def find(method: str, path: str) -> tuple[Route, dict[str, str]]:
    for one in ROUTES:
        if one.method == method and (match := one.path.fullmatch(path)):
            return one, match.groupdict()
    raise Unbuilt(f"{method} {path}")


def page(call: Call, found: list[Object], kind: str) -> Object:
    """One page of a list that is complete and in order, with cursors as Stripe's."""
    limit = call.get("limit", 10)
    if not 1 <= limit <= 100:
        raise Refusal("This value must be between 1 and 100.", param="limit")
    after, before = call.get("starting_after"), call.get("ending_before")
    if after and before:
        raise Refusal("You cannot set both starting_after and ending_before.", param="ending_before")
    if after:
        found = found[_place(found, after, "starting_after", kind) + 1 :]
        data, more = found[:limit], len(found) > limit
    elif before:
        found = found[: _place(found, before, "ending_before", kind)]
        data, more = found[-limit:], len(found) > limit
    else:
        data, more = found[:limit], len(found) > limit
    return {"object": "list", "data": [visible(one) for one in data], "has_more": more, "url": call.path}


def embedded(found: list[Object], url: str) -> Object:
    """A list inside of an object: its first ten, as Stripe shows them. We show all."""
    return {"object": "list", "data": found, "has_more": False, "url": url}


def within(value: int, bounds: Any) -> bool:
    """`created=1` or `created[gte]=1`."""
    if not isinstance(bounds, dict):
        return bool(value == int(bounds))
    tests = {"gt": value.__gt__, "gte": value.__ge__, "lt": value.__lt__, "lte": value.__le__}
    return all(tests[name](int(bound)) for name, bound in bounds.items())


def _place(found: list[Object], id_: str, param: str, kind: str) -> int:
    for at, one in enumerate(found):
        if one["id"] == id_:
            return at
    raise Refusal(f"No such {kind}: '{id_}'", code="resource_missing", param=param)


def _refused(found: list[str]) -> Refusal:
    """In Stripe's words; several at once name the first."""
    where, _, what = found[0].partition(": ")
    first, *rest = re.findall(r"\[([^\]]*)\]", where.removesuffix(":")) or [where]
    param = first + "".join(f"[{part}]" for part in rest)
    if what == "unknown parameter":
        return Refusal(f"Received unknown parameter: {param}", code="parameter_unknown", param=param)
    if what == "missing parameter":
        return Refusal(f"Missing required param: {param}.", code="parameter_missing", param=param)
    return Refusal(f"Invalid {param}: {what}", param=param)
