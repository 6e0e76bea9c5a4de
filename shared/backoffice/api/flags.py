"""Feature flags and their rollouts."""

from datetime import date, datetime
from typing import Any

from pydantic import Field

from shared.access import actions
from shared.access.endpoints import ApiOperatorCtx, ApiOutput, ApiPage, Endpoint
from shared.backoffice import flag_admin
from shared.backoffice.flag_admin import FlagSummary


class Flag(ApiOutput):
    key: str = Field(examples=["role_editor"])
    title: str = Field(examples=["Role editor"])
    sentence: str = Field(examples=["Custom roles can be edited."])
    owner: str = Field(description="The team", examples=["Access"])
    required_feature: str = Field(
        description="That a plan has to include as well; empty for none", examples=[""]
    )
    cleanup_by: date = Field(description="When it is to be removed from the code")
    is_killed: bool = Field(description="Off for all organisations, whatever the rules", examples=[False])
    # Rules have several forms, which docs/architecture.md does not promise to keep.
    rules: list[dict[str, Any]] = Field(description="Of the rollout, the first that fits", examples=[[]])
    rules_number: int = Field(description="Of the present rules", examples=[1])
    retired_at: datetime | None


async def list_flags(octx: ApiOperatorCtx) -> ApiPage[Flag]:
    return ApiPage(items=[_show_flag(flag) for flag in await flag_admin.list_flags(octx)])


def _show_flag(flag: FlagSummary) -> Flag:
    return Flag(
        key=flag.row.key,
        title=flag.row.title,
        sentence=flag.row.sentence,
        owner=flag.row.owner,
        required_feature=flag.row.required_feature,
        cleanup_by=flag.row.cleanup_by,
        is_killed=flag.version.killed,
        rules=flag.version.rules,
        rules_number=flag.version.number,
        retired_at=flag.row.retired_at,
    )


ENDPOINTS = [
    Endpoint(
        realm="operator",
        method="GET",
        path="/flags",
        handler=list_flags,
        action=actions.OP_FLAG_READ,
        summary="List flags and their rollouts",
    )
]
