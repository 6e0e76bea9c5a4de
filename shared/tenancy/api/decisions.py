"""Decisions: what this key may do, why or why not, and what was decided before."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from shared.access import actions
from shared.access.actions import ACTIONS
from shared.access.endpoints import ApiCtx, ApiInput, ApiOutput, ApiPage, Endpoint
from shared.tenancy import own_decisions, recorded_decisions
from shared.tenancy.api.parameters import IdText


class ActionNeeds(ApiOutput):
    """What an action needs. Empty: nothing."""

    name: str = Field(examples=["role:create"])
    description: str = Field(examples=["create roles"])
    scope: str = Field(examples=["role:write"])
    writes: bool = Field(examples=[True])
    feature: str = Field(description="That the plan has to include", examples=["custom_roles"])
    limit: str = Field(description="That has to have room", examples=["roles"])
    flag: str = Field(description="That has to be on", examples=["role_editor"])


class DecisionQuestion(ApiInput):
    action: Annotated[str, StringConstraints(max_length=100)] = Field(examples=["role:create"])
    at: Annotated[AwareDatetime | None, Field(strict=False)] = Field(
        default=None, description="A past time; without it, now", examples=["2026-11-29T09:00:00Z"]
    )


class TraceLayer(ApiOutput):
    layer: str = Field(examples=["plan"])
    question: str = Field(examples=["Does the plan include it?"])
    verdict: Literal["yes", "no", "warn", "idle", "overruled"]
    explanation: str = Field(examples=["Free v1 doesn’t include Custom roles."])
    source_id: str = Field(description="Id of the row it comes from", examples=["plv_free_1"])
    decides: bool


class DecisionAnswer(ApiOutput):
    action: str = Field(examples=["role:create"])
    at: datetime = Field(description="The time that was asked about")
    allowed: bool = Field(examples=[False])
    reason: str = Field(description="Stable, for programs", examples=["not_in_plan"])
    detail: str = Field(
        description="Empty when it is allowed", examples=["Free doesn’t include custom roles."]
    )
    next_step: str = Field(examples=["Choose a larger plan in Billing."])
    trace: list[TraceLayer] | None = Field(description="One for each layer; null without `access:read`")


class RecordedDecision(ApiOutput):
    """A refusal, or an action that was allowed and wrote something."""

    id: str = Field(examples=["dcn_01jz"])
    at: datetime
    surface: Literal["page", "rest", "job", "scim", "cli"] = Field(description="Where the decision was made")
    actor_type: str = Field(examples=["api_key"])
    actor_id: str = Field(examples=["key_01jz"])
    holder_id: str = Field(
        description="Person or service account whose rights were asked, or empty", examples=["usr_ann"]
    )
    action: str = Field(examples=["role:create"])
    allowed: bool = Field(examples=[False])
    layer: str = Field(description="That decided; empty where it is simply allowed", examples=["permission"])
    reason: str = Field(description="Stable, for programs", examples=["missing_scope"])
    plan_version: str = Field(description="At that time", examples=["plv_business_1"])
    billing_status: str = Field(description="At that time", examples=["active"])
    request_id: str = Field(examples=["req_01jz"])
    trace: list[TraceLayer] | None = Field(
        description="One for each layer, as of that time; null where they can’t be computed, as for tokens"
    )


async def get_decision(ctx: ApiCtx, decision_id: IdText) -> RecordedDecision:
    decision = await recorded_decisions.get(ctx, decision_id)
    layers = decision.layers
    return RecordedDecision(
        id=decision.id,
        at=decision.at,
        surface=decision.surface,
        actor_type=decision.actor_type,
        actor_id=decision.actor_id,
        holder_id=decision.holder_id,
        action=decision.action,
        allowed=decision.allowed,
        layer=decision.layer,
        reason=decision.reason,
        plan_version=decision.plan_version,
        billing_status=decision.billing_status,
        request_id=decision.request_id,
        trace=None if layers is None else [TraceLayer.model_validate(layer) for layer in layers],
    )


async def list_actions(_: ApiCtx) -> ApiPage[ActionNeeds]:
    return ApiPage(
        items=[
            ActionNeeds(
                name=action.name,
                description=action.description,
                scope=action.permission,
                writes=action.writes,
                feature=action.feature,
                limit=action.limit,
                flag=action.flag,
            )
            for action in ACTIONS.values()
        ]
    )


async def decide(ctx: ApiCtx, question: DecisionQuestion) -> DecisionAnswer:
    decision = await own_decisions.decide(ctx, question.action, at=question.at)
    layers = decision.layers
    return DecisionAnswer(
        action=decision.action.name,
        at=decision.at,
        allowed=decision.allowed,
        reason=decision.reason,
        detail=decision.detail,
        next_step=decision.next_step,
        trace=None if layers is None else [TraceLayer.model_validate(layer) for layer in layers],
    )


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/actions",
        handler=list_actions,
        action=None,
        summary="List every action with what it needs, on one page",
    ),
    Endpoint(
        method="POST",
        path="/decisions",
        handler=decide,
        action=actions.HOME_READ,
        summary="Ask whether this key may do something, now or at a past time, and why",
        errors=(404,),
    ),
    Endpoint(
        method="GET",
        path="/decisions/{decision_id}",
        handler=get_decision,
        action=actions.DECISION_READ,
        summary="Read a recorded decision, with its trace as of its time",
    ),
]
