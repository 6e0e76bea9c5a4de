"""Flags evaluated by any provider that speaks OpenFeature. Needs the extra `openfeature`.

    api.set_provider_and_wait(SomeProvider(…), "bulkhead")
    current.use(OpenFeature(api.get_client("bulkhead")))

Decisions are made on the event loop, so the provider has to answer from memory: one that evaluates in the process and
updates its rules in the background (in-memory, from a file, flagd in its in-process mode, a vendor's server SDK that
streams). One that asks over the network with every evaluation, such as OFREP, would stop every request of the process
while it waits, and must not be used here.

Decisions are cached until the tenant or the catalog changes. So a provider has to report changes of its rules
(`PROVIDER_CONFIGURATION_CHANGED`), including changes on schedule. All cached decisions are dropped then.
"""

from datetime import datetime
from typing import Any

from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent

from shared.core import log
from shared.entitlements import rights_cache
from shared.entitlements.flag_evaluation import FlagEvaluation, FlagFinding, FlagTarget

SOURCE = "openfeature"
OVERRIDE_VALUES = {True: "yes", False: "no", None: ""}
# After these events evaluations can differ, including off after an error.
REFRESH_EVENTS = (
    ProviderEvent.PROVIDER_CONFIGURATION_CHANGED,
    ProviderEvent.PROVIDER_ERROR,
    ProviderEvent.PROVIDER_READY,
)


class OpenFeatureProvider:
    def __init__(self, client: OpenFeatureClient) -> None:
        self._client = client
        for event in REFRESH_EVENTS:
            client.add_handler(event, _invalidate)

    def evaluate(self, flag: str, target: FlagTarget, at: datetime) -> FlagEvaluation:
        try:
            details = self._client.get_boolean_details(flag, False, build_context(flag, target, at))
        except Exception:
            # Third-party code can raise anything. An error turns the flag off.
            log.get_tenant_logger(__name__).exception("flag_not_evaluated", flag=flag)
            return FlagEvaluation(False, FlagFinding.PROVIDER_FAILED, SOURCE, note="see the log")
        if details.error_code is not None:
            note = str(details.error_code.value)
            return FlagEvaluation(False, FlagFinding.PROVIDER_FAILED, SOURCE, note=note)
        reason = str(details.reason or "no reason").lower().replace("_", " ")
        variant = f", variant {details.variant}" if details.variant else ""
        return FlagEvaluation(details.value, FlagFinding.PROVIDER_ANSWERED, SOURCE, note=f"{reason}{variant}")


def build_context(flag: str, target: FlagTarget, at: datetime) -> EvaluationContext:
    """A flat context, because not every provider reads nested attributes. Names of traits are `assignments.TRAITS`."""
    attributes: dict[str, Any] = {
        **target.traits,
        "plan": target.plan,
        "own": OVERRIDE_VALUES[target.overrides.get(flag)],
        "at": at,
    }
    return EvaluationContext(target.tenant_id, attributes)


def _invalidate(_: object) -> None:
    rights_cache.invalidate_evaluations()
