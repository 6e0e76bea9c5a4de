"""Which paths exist, what Stripe's types say of their parameters, and which of these we implement."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.dev.stripe_sandbox.forms import list_leaves
from shared.dev.stripe_sandbox.parameters import ParamError, convert_values, find_errors, find_params_type
from shared.dev.stripe_sandbox.refusals import ApiError, UnsupportedError
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

PAGING = "limit starting_after ending_before expand"


@dataclass
class ApiCall:
    account: Account
    path: str
    ids: dict[str, str]
    params: dict[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        return self.params.get(name, default)


Handler = Callable[[ApiCall], Object]


@dataclass(frozen=True)
class ApiRoute:
    method: str
    path: re.Pattern[str]
    params_type: str
    accepted_params: dict[str, frozenset[str]]  # dotted path -> values, none: any
    handler: Handler

    def read_params(self, raw_params: dict[str, Any]) -> dict[str, Any]:
        """The parameters, typed. What Stripe does not know is 400, what only we do not know 501."""
        params_type = find_params_type(self.params_type)
        if errors := find_errors(raw_params, params_type):
            raise _build_param_error(errors)
        for path, value in list_leaves(raw_params):
            if not self._is_accepted(path, value):
                raise UnsupportedError(f"{self.method} {self.path.pattern} with {path}={value}")
        return convert_values(raw_params, params_type)

    def _is_accepted(self, path: str, value: str) -> bool:
        parts = path.split(".")
        for end in range(1, len(parts) + 1):
            values = self.accepted_params.get(".".join(parts[:end]))
            if values is not None:
                return not values or value in values
        # an empty value clears a hash, of which we know at least one key
        return value == "" and any(name.startswith(f"{path}.") for name in self.accepted_params)


ROUTES: list[ApiRoute] = []


def route(method: str, path: str, params: str, accepted_params: str = "") -> Callable[[Handler], Handler]:
    """`accepted_params`: the parameters we implement, dotted; `mode=setup|subscription` names the only values."""
    accepted = {}
    for entry in f"{accepted_params} expand".split():
        name, _, values = entry.partition("=")
        accepted[name] = frozenset(values.split("|")) if values else frozenset()
    pattern = re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path))

    def register(act: Handler) -> Handler:
        ROUTES.append(ApiRoute(method, pattern, params, accepted, act))
        return act

    return register


def find_route(method: str, path: str) -> tuple[ApiRoute, dict[str, str]]:
    for api_route in ROUTES:
        if api_route.method == method and (match := api_route.path.fullmatch(path)):
            return api_route, match.groupdict()
    raise UnsupportedError(f"{method} {path}")


def paginate(call: ApiCall, objects: list[Object], kind: str) -> Object:
    """One page of a list that is complete and in order, with cursors as Stripe's."""
    limit = call.get("limit", 10)
    if not 1 <= limit <= 100:
        raise ApiError("This value must be between 1 and 100.", param="limit")
    after, before = call.get("starting_after"), call.get("ending_before")
    if after and before:
        raise ApiError("You cannot set both starting_after and ending_before.", param="ending_before")
    if after:
        objects = objects[_find_index(objects, after, "starting_after", kind) + 1 :]
        data, has_more = objects[:limit], len(objects) > limit
    elif before:
        objects = objects[: _find_index(objects, before, "ending_before", kind)]
        data, has_more = objects[-limit:], len(objects) > limit
    else:
        data, has_more = objects[:limit], len(objects) > limit
    return {
        "object": "list",
        "data": [copy_visible(obj) for obj in data],
        "has_more": has_more,
        "url": call.path,
    }


def build_list(objects: list[Object], url: str) -> Object:
    """A list inside of an object: its first ten, as Stripe shows them. We show all."""
    return {"object": "list", "data": objects, "has_more": False, "url": url}


def is_within(value: int, bounds: Any) -> bool:
    """`created=1` or `created[gte]=1`."""
    if not isinstance(bounds, dict):
        return bool(value == int(bounds))
    tests = {"gt": value.__gt__, "gte": value.__ge__, "lt": value.__lt__, "lte": value.__le__}
    return all(tests[name](int(bound)) for name, bound in bounds.items())


def _find_index(objects: list[Object], id_: str, param: str, kind: str) -> int:
    for index, obj in enumerate(objects):
        if obj["id"] == id_:
            return index
    raise ApiError(f"No such {kind}: '{id_}'", code="resource_missing", param=param)


def _build_param_error(errors: list[ParamError]) -> ApiError:
    """In Stripe's words; several at once name the first."""
    error = errors[0]
    if error.kind == "unknown":
        return ApiError(
            f"Received unknown parameter: {error.param}", code="parameter_unknown", param=error.param
        )
    if error.kind == "missing":
        return ApiError(
            f"Missing required param: {error.param}.", code="parameter_missing", param=error.param
        )
    return ApiError(f"Invalid {error.param}: {error.text}", param=error.param)
