"""What an organisation may use: its plan, its overrides, its flags. All of it has one version."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Response
from pydantic import AwareDatetime, Field

from shared.access import actions
from shared.access.endpoints import (
    ApiOperatorCtx,
    ApiOutput,
    ApiPage,
    Endpoint,
    IfMatch,
    set_etag,
)
from shared.backoffice import tenant_access
from shared.backoffice.api.parameters import KeyText, ReasonInput, ReasonQuery
from shared.backoffice.reasons import state_reason
from shared.backoffice.tenant_access import TenantAccess
from shared.entitlements.assignments import MAX_AMOUNT, MAX_TRIAL_DAYS
from shared.entitlements.models import TenantOverride
from shared.tenancy.api.parameters import IdText

EndsAt = Annotated[AwareDatetime, Field(strict=False)]


class Override(ApiOutput):
    id: str = Field(examples=["ovr_01jz"])
    target: Literal["feature", "limit"]
    name: str = Field(description="Key of the feature or limit", examples=["custom_roles"])
    included: bool | None = Field(description="Of a feature; null for a limit", examples=[True])
    amount: int | None = Field(description="Of a limit; null for none, and for a feature", examples=[None])
    is_hard: bool | None = Field(description="Whether the limit refuses; null for a feature", examples=[None])
    starts_at: datetime
    ends_at: datetime | None
    by_name: str = Field(examples=["Olga"])
    reason: str = Field(examples=["Ticket 4471"])


class TenantFlag(ApiOutput):
    key: str = Field(examples=["role_editor"])
    title: str = Field(examples=["Role editor"])
    is_on: bool = Field(description="By its rules and the override")
    override: bool | None = Field(description="Of this organisation; null without one", examples=[None])


class TenantEntitlements(ApiOutput):
    plan: str = Field(description="Key of the plan", examples=["business"])
    plan_name: str = Field(examples=["Business"])
    plan_version_id: str = Field(examples=["plv_business_1"])
    trial_ends_at: datetime | None
    billing_status: str = Field(examples=["active"])
    overrides: list[Override]
    flags: list[TenantFlag]
    version: int = Field(
        description="Also the ETag. Every change of this answer makes a new one", examples=[12]
    )


class PlanAssignment(ReasonInput):
    plan_version_id: IdText = Field(
        description="Of GET /plans: the newest version", examples=["plv_business_1"]
    )
    trial_days: int = Field(
        default=0, ge=0, le=MAX_TRIAL_DAYS, description="0: it isn’t a trial", examples=[0]
    )


class FlagOverride(ReasonInput):
    enabled: bool | None = Field(description="null removes the override", examples=[True])


class FeatureOverride(ReasonInput):
    feature: KeyText = Field(examples=["custom_roles"])
    included: bool = Field(examples=[True])
    ends_at: EndsAt = Field(description="Overrides always end", examples=["2030-01-01T00:00:00Z"])


class LimitOverride(ReasonInput):
    limit: KeyText = Field(examples=["members"])
    amount: int | None = Field(ge=0, le=MAX_AMOUNT, description="null: unlimited", examples=[100])
    is_hard: bool = Field(default=True, description="Whether it refuses", examples=[True])
    ends_at: EndsAt = Field(description="Overrides always end", examples=["2030-01-01T00:00:00Z"])


async def get_entitlements(
    octx: ApiOperatorCtx, response: Response, tenant_id: IdText, reason: ReasonQuery
) -> TenantEntitlements:
    access = await tenant_access.get_tenant_access(
        octx, tenant_id, state_reason(octx, reason, tenant_id=tenant_id)
    )
    set_etag(response, access.version)
    return _show_entitlements(access)


async def assign_plan(
    octx: ApiOperatorCtx, tenant_id: IdText, assignment: PlanAssignment, version: IfMatch
) -> None:
    await tenant_access.assign_plan(
        octx,
        tenant_id,
        assignment.plan_version_id,
        state_reason(octx, assignment.reason, tenant_id=tenant_id),
        trial_days=assignment.trial_days,
        version=version,
    )


async def set_flag_override(
    octx: ApiOperatorCtx, tenant_id: IdText, flag: KeyText, override: FlagOverride, version: IfMatch
) -> None:
    await tenant_access.set_flag_override(
        octx,
        tenant_id,
        flag,
        override.enabled,
        state_reason(octx, override.reason, tenant_id=tenant_id),
        version=version,
    )


async def list_overrides(octx: ApiOperatorCtx, tenant_id: IdText, reason: ReasonQuery) -> ApiPage[Override]:
    access = await tenant_access.get_tenant_access(
        octx, tenant_id, state_reason(octx, reason, tenant_id=tenant_id)
    )
    return ApiPage(items=[_show_override(row) for row in access.overrides])


async def override_feature(octx: ApiOperatorCtx, tenant_id: IdText, override: FeatureOverride) -> Override:
    row = await tenant_access.override_feature(
        octx,
        tenant_id,
        override.feature,
        override.included,
        state_reason(octx, override.reason, tenant_id=tenant_id),
        ends_at=override.ends_at,
    )
    return _show_override(row)


async def override_limit(octx: ApiOperatorCtx, tenant_id: IdText, override: LimitOverride) -> Override:
    row = await tenant_access.override_limit(
        octx,
        tenant_id,
        override.limit,
        override.amount,
        state_reason(octx, override.reason, tenant_id=tenant_id),
        ends_at=override.ends_at,
        hard=override.is_hard,
    )
    return _show_override(row)


async def end_override(
    octx: ApiOperatorCtx, tenant_id: IdText, override_id: IdText, ending: ReasonInput
) -> None:
    await tenant_access.end_assignment(
        octx, tenant_id, override_id, state_reason(octx, ending.reason, tenant_id=tenant_id)
    )


def _show_entitlements(access: TenantAccess) -> TenantEntitlements:
    snapshot = access.snapshot
    return TenantEntitlements(
        plan=snapshot.offer.key,
        plan_name=snapshot.offer.name,
        plan_version_id=snapshot.offer.id,
        trial_ends_at=snapshot.trial_ends_at,
        billing_status=snapshot.billing_status,
        overrides=[_show_override(row) for row in access.overrides],
        flags=[TenantFlag.model_validate(flag) for flag in access.flags],
        version=access.version,
    )


def _show_override(row: TenantOverride) -> Override:
    limit = row.value if isinstance(row.value, Mapping) else None
    return Override(
        id=row.id,
        target="feature" if limit is None else "limit",
        name=row.name,
        included=bool(row.value) if limit is None else None,
        amount=limit["amount"] if limit else None,
        is_hard=limit["hard"] if limit else None,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        by_name=row.by_name,
        reason=row.reason,
    )


ENDPOINTS = [
    Endpoint(
        realm="operator",
        method="GET",
        path="/tenants/{tenant_id}/entitlements",
        handler=get_entitlements,
        action=actions.OP_RIGHTS_EXPLAIN,
        summary="Read the plan, the overrides and the flags of an organisation",
    ),
    Endpoint(
        realm="operator",
        method="PUT",
        path="/tenants/{tenant_id}/plan",
        handler=assign_plan,
        action=actions.OP_RIGHTS_WRITE,
        summary="Assign a plan to an organisation",
        status=204,
    ),
    Endpoint(
        realm="operator",
        method="PUT",
        path="/tenants/{tenant_id}/flags/{flag}",
        handler=set_flag_override,
        action=actions.OP_FLAG_WRITE,
        summary="Turn a flag on or off for an organisation",
        status=204,
    ),
    Endpoint(
        realm="operator",
        method="GET",
        path="/tenants/{tenant_id}/overrides",
        handler=list_overrides,
        action=actions.OP_RIGHTS_EXPLAIN,
        summary="List the overrides of an organisation that are in effect",
    ),
    Endpoint(
        realm="operator",
        method="POST",
        path="/tenants/{tenant_id}/overrides/features",
        handler=override_feature,
        action=actions.OP_RIGHTS_WRITE,
        summary="Include or exclude a feature for a while",
        status=201,
    ),
    Endpoint(
        realm="operator",
        method="POST",
        path="/tenants/{tenant_id}/overrides/limits",
        handler=override_limit,
        action=actions.OP_RIGHTS_WRITE,
        summary="Raise or lower a limit for a while",
        status=201,
    ),
    Endpoint(
        realm="operator",
        method="POST",
        path="/tenants/{tenant_id}/overrides/{override_id}/end",
        handler=end_override,
        action=actions.OP_RIGHTS_WRITE,
        summary="End an override or add-on early",
        status=204,
    ),
]
