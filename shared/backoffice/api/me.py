"""The key itself: whose it is, and what it may do."""

from pydantic import Field

from shared.access.endpoints import ApiOperatorCtx, ApiOutput, Endpoint


class Me(ApiOutput):
    key_id: str = Field(examples=["opk_01jz"])
    operator_id: str = Field(examples=["opr_olga"])
    operator_name: str = Field(examples=["Olga"])
    role: str = Field(description="Of the operator", examples=["billing"])
    scopes: list[str] = Field(description="That the key was given", examples=[["operator:tenant:read"]])
    permissions: list[str] = Field(
        description="Scopes that the operator’s role has as well", examples=[["operator:tenant:read"]]
    )


async def get_me(octx: ApiOperatorCtx) -> Me:
    return Me(
        key_id=octx.key_id,
        operator_id=octx.actor_id,
        operator_name=octx.actor.name,
        role=octx.role,
        scopes=sorted(octx.scopes or ()),
        permissions=sorted(octx.permissions),
    )


ENDPOINTS = [
    Endpoint(
        realm="operator",
        method="GET",
        path="/me",
        handler=get_me,
        action=None,
        summary="Read what this key is and what it may do",
    )
]
