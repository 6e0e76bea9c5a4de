"""`python -m tests.bench.peers.deciders`: engines that decide role, plan and billing status, asked through a pipe.

The first line is the dataset: roles, actions, plans and tenants. Every line after that names an engine and requests; the
answer holds CPU nanoseconds and what was allowed. Each engine is set up as its documentation recommends, its policy
read once, and told role, plan and status of the tenant, which it looks up like everybody else.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import casbin
import cedarpy
from casbin import persist
from casbin.model import FastModel, Model
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

Ask = Callable[[str, str], bool]  # tenant, action
MODEL = """
[request_definition]
r = role, act, plan, status
[policy_definition]
p = role, act, feature, writes, cleans
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.role == p.role && r.act == p.act && (p.cleans == "yes" || ((p.writes == "no" || r.status != "read_only") && \
(p.feature == "none" || g(r.plan, p.feature))))
"""


class Dataset:
    def __init__(self, message: dict[str, Any]) -> None:
        self.roles: dict[str, list[str]] = message["roles"]  # permissions
        self.actions: dict[str, dict[str, Any]] = message["actions"]
        self.plans: dict[str, list[str]] = message["plans"]  # features
        self.tenants: dict[str, tuple[str, str, str]] = {
            key: tuple(tenant) for key, tenant in message["tenants"].items()
        }  # type: ignore[misc]

    def granted(self) -> list[tuple[str, str]]:
        return [
            (role, name)
            for role, held in self.roles.items()
            for name, action in self.actions.items()
            if action["permission"] in held
        ]


class Lines(persist.Adapter):
    """A policy from memory: what a file would hold."""

    def __init__(self, dataset: Dataset) -> None:
        self._lines = [f"g, {plan}, {feature}" for plan, has in dataset.plans.items() for feature in has]
        for role, name in dataset.granted():
            action = dataset.actions[name]
            words = ("yes" if action["writes"] else "no", "yes" if action["allowed_when_unpaid"] else "no")
            self._lines.append(f"p, {role}, {name}, {action['feature'] or 'none'}, {words[0]}, {words[1]}")

    def load_policy(self, model: Any) -> None:
        for line in self._lines:
            persist.load_policy_line(line, model)


def with_casbin(dataset: Dataset) -> Ask:
    return _enforcing(casbin.Enforcer(_read(Model()), Lines(dataset)), dataset)


def with_fast_casbin(dataset: Dataset) -> Ask:
    """Its policy indexed by role and action, so that one line is weighed."""
    order = [0, 1]
    model = _read(FastModel(order))
    return _enforcing(casbin.FastEnforcer(model, Lines(dataset), cache_key_order=order), dataset)


def _read(model: Model) -> Model:
    model.load_model_from_text(MODEL)
    return model


def _enforcing(enforcer: Any, dataset: Dataset) -> Ask:
    tenants = dataset.tenants

    def ask(tenant_id: str, action: str) -> bool:
        role, plan, status = tenants[tenant_id]
        return bool(enforcer.enforce(role, action, plan, status))

    return ask


def with_cedar(dataset: Dataset) -> Ask:
    def listed(names: Sequence[str]) -> str:
        return ", ".join(f'Action::"{name}"' for name in names)

    names, actions = list(dataset.actions), dataset.actions
    writing = [name for name in names if actions[name]["writes"] and not actions[name]["allowed_when_unpaid"]]
    text = [
        f'permit (principal == Role::"{role}", action in [{listed([a for r, a in dataset.granted() if r == role])}], resource);'
        for role in dataset.roles
    ]
    text.append(
        f'forbid (principal, action in [{listed(writing)}], resource) when {{ resource.status == "read_only" }};'
    )
    for feature in sorted({action["feature"] for action in actions.values()} - {""}):
        needing = [
            a for a in names if actions[a]["feature"] == feature and not actions[a]["allowed_when_unpaid"]
        ]
        if needing:
            text.append(
                f"forbid (principal, action in [{listed(needing)}], resource) unless"
                f' {{ resource.features.contains("{feature}") }};'
            )
    policies = cedarpy.PolicySet.from_str("\n".join(text))
    entities = cedarpy.Entities.from_json_str(
        json.dumps(
            [
                {
                    "uid": {"type": "Tenant", "id": tenant_id},
                    "attrs": {"status": status, "features": dataset.plans[plan]},
                    "parents": [],
                }
                for tenant_id, (_, plan, status) in dataset.tenants.items()
            ]
        )
    )

    def ask(tenant_id: str, action: str) -> bool:
        role, _, _ = dataset.tenants[tenant_id]
        request = {
            "principal": f'Role::"{role}"',
            "action": f'Action::"{action}"',
            "resource": f'Tenant::"{tenant_id}"',
        }
        return cedarpy.is_authorized(request, policies, entities).allowed

    return ask


def with_openfeature(dataset: Dataset) -> Ask:
    roles = {role: frozenset(held) for role, held in dataset.roles.items()}
    plans = {plan: frozenset(features) for plan, features in dataset.plans.items()}

    def flag(action: dict[str, Any]) -> InMemoryFlag[bool]:
        def evaluate(flag: InMemoryFlag[bool], context: EvaluationContext) -> FlagResolutionDetails[bool]:
            attributes, feature = context.attributes, action["feature"]
            on = action["permission"] in roles[attributes["role"]]  # type: ignore[index]
            if on and not action["allowed_when_unpaid"]:
                on = not (action["writes"] and attributes["status"] == "read_only") and (
                    not feature or feature in plans[attributes["plan"]]  # type: ignore[index]
                )
            return FlagResolutionDetails(on, reason=Reason.TARGETING_MATCH, variant="on" if on else "off")

        return InMemoryFlag("off", {"on": True, "off": False}, context_evaluator=evaluate)

    api.set_provider(InMemoryProvider({name: flag(action) for name, action in dataset.actions.items()}))
    client, tenants = api.get_client(), dataset.tenants

    def ask(tenant_id: str, action: str) -> bool:
        role, plan, status = tenants[tenant_id]
        context = EvaluationContext(tenant_id, {"role": role, "plan": plan, "status": status})
        return client.get_boolean_value(action, False, context)

    return ask


ENGINES: dict[str, Callable[[Dataset], Ask]] = {
    "casbin": with_casbin,
    "casbin-fast": with_fast_casbin,
    "cedar": with_cedar,
    "openfeature": with_openfeature,
}


def timed(ask: Ask, requests: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The first tenth warms up."""
    warm = max(1, len(requests) // 10)
    answers = [ask(*request) for request in requests[:warm]]
    began = time.process_time_ns()
    answers += [ask(*request) for request in requests[warm:]]
    return {"cpu": (time.process_time_ns() - began) / (len(requests) - warm), "answers": answers}


def main() -> None:
    dataset = Dataset(json.loads(sys.stdin.readline()))
    engines: dict[str, Ask] = {}
    for line in sys.stdin:
        message = json.loads(line)
        try:
            name = message["engine"]
            ask = engines.get(name) or engines.setdefault(name, ENGINES[name](dataset))
            answer = timed(ask, [tuple(request) for request in message["requests"]])
        except Exception as problem:  # the row says so
            answer = {"problem": f"{type(problem).__name__}: {problem}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
