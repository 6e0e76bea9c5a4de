"""Features, limits and usage of the organisation, each with its source."""

from datetime import datetime

from pydantic import Field

from shared.access import actions
from shared.access.endpoints import ApiCtx, ApiOutput, Endpoint
from shared.entitlements import explain
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.tenancy import access_overview
from shared.tenancy.access_overview import ScheduledChange as AccessChange


class Feature(ApiOutput):
    key: str = Field(examples=["audit_log"])
    title: str = Field(examples=["Audit log"])
    included: bool
    explanation: str = Field(examples=["Business v1 includes it."])
    source_id: str = Field(description="Id of the row that decides", examples=["plv_business_1"])


class UsageLimit(ApiOutput):
    key: str = Field(examples=["members"])
    title: str = Field(examples=["Members"])
    amount: int | None = Field(description="null: unlimited", examples=[25])
    hard: bool = Field(description="A soft limit warns and allows", examples=[True])
    used: int | None = Field(description="null where nothing counts it", examples=[3])
    explanation: str = Field(examples=["Business v1: 25 seats."])
    source_id: str = Field(description="Id of the row that decides", examples=["plv_business_1"])


class ScheduledChange(ApiOutput):
    at: datetime
    title: str = Field(examples=["Plan"])
    before: str = Field(examples=["Business v1"])
    after: str = Field(examples=["Free v1"])


class Entitlements(ApiOutput):
    plan: str = Field(examples=["Business v1"])
    billing_status: str = Field(examples=["active"])
    trial_ends_at: datetime | None
    features: list[Feature]
    limits: list[UsageLimit]
    scheduled_changes: list[ScheduledChange] = Field(description="Changes that need no action")


async def get_entitlements(ctx: ApiCtx) -> Entitlements:
    overview = await access_overview.get_access_overview(ctx)
    return Entitlements(
        plan=overview.plan,
        billing_status=overview.billing_status,
        trial_ends_at=overview.trial_ends_at,
        features=[
            Feature(
                key=key,
                title=FEATURES[key].title,
                included=chain.included,
                explanation=explain.describe_feature_chain(chain),
                source_id=chain.source_id,
            )
            for key, chain in overview.features.items()
        ],
        limits=[
            UsageLimit(
                key=key,
                title=LIMITS[key].title,
                amount=chain.limit.amount,
                hard=chain.limit.hard,
                used=overview.usage.get(key),
                explanation=explain.describe_limit_chain(chain),
                source_id=chain.source_id,
            )
            for key, chain in overview.limits.items()
        ],
        scheduled_changes=[_build_change(change) for change in overview.scheduled_changes],
    )


def _build_change(change: AccessChange) -> ScheduledChange:
    return ScheduledChange.model_validate(change)


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/entitlements",
        handler=get_entitlements,
        action=actions.ACCESS_READ,
        summary="Read features, limits and usage, each with its source",
    )
]
