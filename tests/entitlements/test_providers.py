"""The contract of flag providers: our rules, and the same rules behind OpenFeature."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from shared.backoffice import tenant_access
from shared.backoffice.reasons import state_reason
from shared.entitlements import catalog, rights_cache
from shared.entitlements.catalog import Catalog
from shared.entitlements.flag_evaluation import (
    FlagFinding,
    FlagProvider,
    FlagTarget,
    RuleProvider,
    evaluate_rules,
)
from shared.entitlements.models import FlagRow, FlagVersion
from shared.entitlements.openfeature import OpenFeatureProvider
from tests.conftest import Cast
from tests.support.entitlements import flag_fixtures

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DOMAIN = "tests"
FLAG = "tried"


class RuleBasedProvider(InMemoryProvider):
    """The SDK's provider in memory, with targeting by the context it receives."""

    def __init__(self, catalogue: Catalog) -> None:
        self.catalogue = catalogue
        super().__init__({key: self._flag(key) for key in catalogue.flags})

    def _flag(self, key: str) -> InMemoryFlag[bool]:
        def targeted(flag: InMemoryFlag[bool], asked: EvaluationContext) -> FlagResolutionDetails[bool]:
            attributes: dict[str, Any] = dict(asked.attributes)
            is_allowed = {"yes": True, "no": False}.get(attributes.pop("own"))
            plan, at = attributes.pop("plan"), attributes.pop("at")
            target = FlagTarget(
                str(asked.targeting_key), plan, attributes, {} if is_allowed is None else {key: is_allowed}
            )
            rollout = self.catalogue.flags[key]
            version = rollout.version_at(at)
            assert version is not None
            on = evaluate_rules(rollout, version.id, version.rules, version.killed, target, at).is_on
            return FlagResolutionDetails(value=on, variant="on" if on else "off", reason="TARGETING_MATCH")

        return InMemoryFlag("off", {"on": True, "off": False}, context_evaluator=targeted)


class FailingProvider(InMemoryProvider):
    def resolve_boolean_details(self, *_: Any, **__: Any) -> Any:
        raise ConnectionError("nobody there")


class FailingHooksProvider(RuleBasedProvider):
    """Fails where the SDK does not catch errors."""

    def get_provider_hooks(self) -> Any:
        raise RuntimeError("a hook")


def build_catalog(*rules: dict[str, Any], killed: bool = False, retired: bool = False) -> Catalog:
    row = FlagRow(
        key=FLAG,
        title="Tried",
        sentence="Something new.",
        owner="Access team",
        cleanup_by=date(2027, 1, 1),
        created_by="Olga",
        retired_at=NOW - HOUR if retired else None,
    )
    version = FlagVersion(
        flag_id=row.id,
        number=1,
        rules=list(rules),
        killed=killed,
        created_at=NOW - 2 * HOUR,
        created_by="Olga",
        reason="Try",
    )
    return catalog.build_catalog(1, (), (), [row], [version])


def target(
    tenant: str = "ten_acme", plan: str = "business", is_allowed: bool | None = None, **traits: str
) -> FlagTarget:
    return FlagTarget(tenant, plan, traits, {} if is_allowed is None else {FLAG: is_allowed})


@pytest.fixture(autouse=True)
def reset_providers() -> Iterator[None]:
    yield
    api.clear_providers()
    rights_cache.set_provider(None)


@pytest.fixture(params=["ours", "openfeature"])
def serve(request: pytest.FixtureRequest) -> Any:
    """Returns a provider of the flags of a catalogue."""

    def rule_provider(of: Catalog) -> FlagProvider:
        return RuleProvider(of)

    def openfeature(of: Catalog) -> FlagProvider:
        api.set_provider_and_wait(RuleBasedProvider(of), DOMAIN)
        return OpenFeatureProvider(api.get_client(DOMAIN))

    return {"ours": rule_provider, "openfeature": openfeature}[request.param]


CASES: Sequence[tuple[dict[str, Any], FlagTarget, FlagTarget]] = (  # a rule, whom it is about, and whom not
    ({"kind": "allowed"}, target(is_allowed=True), target()),
    ({"kind": "beta"}, target(beta="yes"), target(internal="yes")),
    ({"kind": "cohort", "values": ["small"]}, target(cohort="small"), target(cohort="enterprise")),
    ({"kind": "everyone"}, target(), target(is_allowed=False)),
    ({"kind": "industry", "values": ["finance", "health"]}, target(industry="health"), target(region="eu")),
    ({"kind": "internal"}, target(internal="yes"), target()),
    ({"kind": "percentage", "percent": 50}, target("ten_acme"), target("ten_b")),
    ({"kind": "plan", "values": ["pro"]}, target(plan="pro"), target(plan="free")),
    ({"kind": "region", "values": ["eu"]}, target(region="eu"), target(region="us", plan="eu")),
)


@pytest.mark.parametrize(("rule", "meant", "other"), CASES, ids=[case[0]["kind"] for case in CASES])
def test_flag_is_on_only_for_targets_of_its_rule(
    serve: Any, rule: dict[str, Any], meant: FlagTarget, other: FlagTarget
) -> None:
    provider = serve(build_catalog(rule))
    assert provider.evaluate(FLAG, meant, NOW).is_on is True
    assert provider.evaluate(FLAG, other, NOW).is_on is False


def test_evaluation_names_its_finding_and_source(serve: Any) -> None:
    provider = serve(build_catalog({"kind": "everyone"}))
    for asked in (target(), target(is_allowed=False)):
        evaluation = provider.evaluate(FLAG, asked, NOW)
        assert isinstance(evaluation.finding, FlagFinding)
        assert evaluation.source_id


def test_flag_is_off_without_a_rule_killed_or_retired(serve: Any) -> None:
    everyone = {"kind": "everyone"}
    for of in (build_catalog(), build_catalog(everyone, killed=True), build_catalog(everyone, retired=True)):
        assert serve(of).evaluate(FLAG, target(is_allowed=True), NOW).is_on is False


def test_unknown_flag_is_off(serve: Any) -> None:
    assert serve(build_catalog({"kind": "everyone"})).evaluate("nothing", target(), NOW).is_on is False


def test_rule_applies_within_its_time_only(serve: Any) -> None:
    provider = serve(
        build_catalog({"kind": "everyone", "starts_at": NOW.isoformat(), "ends_at": (NOW + HOUR).isoformat()})
    )
    times = (NOW - HOUR / 60, NOW, NOW + HOUR / 2, NOW + HOUR)
    assert [provider.evaluate(FLAG, target(), at).is_on for at in times] == [False, True, True, False]


def test_percentage_rule_picks_the_same_tenants_in_every_provider(serve: Any) -> None:
    ids = [f"ten_{number}" for number in range(400)]

    def list_enabled_ids(percent: float) -> set[str]:
        provider = serve(build_catalog({"kind": "percentage", "percent": percent}))
        return {tenant_id for tenant_id in ids if provider.evaluate(FLAG, target(tenant_id), NOW).is_on}

    first, more, again = list_enabled_ids(15), list_enabled_ids(30), list_enabled_ids(15)
    assert first == again
    assert first < more
    rules = RuleProvider(build_catalog({"kind": "percentage", "percent": 15}))
    assert first == {tenant_id for tenant_id in ids if rules.evaluate(FLAG, target(tenant_id), NOW).is_on}


# ── what is OpenFeature's alone ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [FailingProvider, FailingHooksProvider])
def test_provider_that_raises_means_off(kind: Any) -> None:
    of = build_catalog({"kind": "everyone"})
    api.set_provider_and_wait(kind({}) if kind is FailingProvider else kind(of), DOMAIN)
    evaluation = OpenFeatureProvider(api.get_client(DOMAIN)).evaluate(FLAG, target(), NOW)
    assert evaluation.is_on is False
    assert evaluation.source_id == "openfeature"


def test_provider_value_of_another_type_means_off() -> None:
    api.set_provider_and_wait(InMemoryProvider({FLAG: InMemoryFlag("a", {"a": "yes"})}), DOMAIN)
    assert OpenFeatureProvider(api.get_client(DOMAIN)).evaluate(FLAG, target(), NOW).is_on is False


def test_missing_provider_means_off() -> None:
    assert OpenFeatureProvider(api.get_client("nobody")).evaluate(FLAG, target(), NOW).is_on is False


async def test_replaced_provider_decides_and_kill_switch_still_wins(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast)
    assert not await flag_fixtures.has_flag(cast.ann, key)
    always = InMemoryProvider({key: InMemoryFlag("on", {"on": True})})
    api.set_provider_and_wait(always, DOMAIN)
    rights_cache.set_provider(OpenFeatureProvider(api.get_client(DOMAIN)))
    assert await flag_fixtures.has_flag(cast.ann, key)
    async with flag_fixtures.flag_killed(cast, key):
        assert not await flag_fixtures.has_flag(cast.ann, key)
    async with cast.olga.octx() as octx:
        await tenant_access.set_flag_override(
            octx, cast.acme, key, False, state_reason(octx, "Not with them", tenant_id=cast.acme)
        )
    assert not await flag_fixtures.has_flag(cast.ann, key)
    assert await flag_fixtures.has_flag(cast.gil, key)
    rights_cache.set_provider(None)
    assert not await flag_fixtures.has_flag(cast.gil, key)


async def test_cached_rights_are_dropped_when_the_provider_changes(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast)
    provider = InMemoryProvider({key: InMemoryFlag("off", {"on": True, "off": False})})
    api.set_provider_and_wait(provider, DOMAIN)
    rights_cache.set_provider(OpenFeatureProvider(api.get_client(DOMAIN)))
    assert not await flag_fixtures.has_flag(cast.ann, key)
    provider._flags[key] = InMemoryFlag("on", {"on": True, "off": False})
    assert not await flag_fixtures.has_flag(cast.ann, key)  # kept, because nobody has said anything
    provider.emit_provider_configuration_changed(ProviderEventDetails())
    for _ in range(100):
        if await flag_fixtures.has_flag(cast.ann, key):
            break
        await asyncio.sleep(0.01)
    assert await flag_fixtures.has_flag(cast.ann, key)


async def test_rights_compiled_during_a_provider_change_are_not_cached(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules change while a tenant is read: the earlier answer must not be kept."""
    key = await flag_fixtures.create_flag(cast)
    flags = {key: InMemoryFlag("off", {"on": True, "off": False})}
    provider = InMemoryProvider(flags)
    api.set_provider_and_wait(provider, DOMAIN)
    rights_cache.set_provider(OpenFeatureProvider(api.get_client(DOMAIN)))
    compile_ = rights_cache.compiled_rights.compile_rights

    def compile_during_change(*args: Any) -> Any:
        compiled = compile_(*args)
        provider._flags[key] = InMemoryFlag("on", {"on": True, "off": False})
        rights_cache.invalidate_evaluations()
        return compiled

    monkeypatch.setattr(rights_cache.compiled_rights, "compile_rights", compile_during_change)
    assert not await flag_fixtures.has_flag(cast.ann, key)
    monkeypatch.undo()
    assert await flag_fixtures.has_flag(cast.ann, key)
