"""Decisions: what this key may do, and why or why not."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from shared.access import actions
from shared.access.actions import ACTIONS
from shared.access.endpoints import ApiCtx, ApiInput, ApiOutput, ApiPage, Endpoint
from shared.tenancy import own_decisions


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
    explanation: str = Field(examples=["Free v1 doesn't include Custom roles."])
    source_id: str = Field(description="Id of the row it comes from", examples=["plv_free_1"])
    decides: bool


class DecisionAnswer(ApiOutput):
    action: str = Field(examples=["role:create"])
    at: datetime = Field(description="The time that was asked about")
    allowed: bool = Field(examples=[False])
    reason: str = Field(description="Stable, for programs", examples=["not_in_plan"])
    detail: str = Field(
        description="Empty when it is allowed", examples=["Free doesn't include custom roles."]
    )
    next_step: str = Field(examples=["Choose a larger plan in Billing."])
    trace: list[TraceLayer] | None = Field(description="One for each layer; null without `access:read`")


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
]
