"""The key itself: whose it is, and what it may do."""

from pydantic import Field

from shared.access.endpoints import ApiCtx, ApiOutput, Endpoint


class Organisation(ApiOutput):
    id: str = Field(examples=["ten_acme"])
    slug: str = Field(examples=["acme"])
    name: str = Field(examples=["Acme"])
    plan: str = Field(examples=["business"])
    billing_status: str = Field(examples=["active"])


class Me(ApiOutput):
    key_id: str = Field(examples=["key_01jz"])
    key_name: str = Field(examples=["Nightly import"])
    holder_id: str = Field(description="The person or service account whose key it is", examples=["usr_ann"])
    role: str = Field(description="Of the holder", examples=["admin"])
    scopes: list[str] = Field(description="That the key was given", examples=[["member:read"]])
    permissions: list[str] = Field(
        description="Scopes that the holder’s role has as well", examples=[["member:read"]]
    )
    organisation: Organisation


async def get_me(ctx: ApiCtx) -> Me:
    return Me(
        key_id=ctx.actor_id,
        key_name=ctx.actor.name,
        holder_id=ctx.holder_id,
        role=ctx.role,
        scopes=sorted(ctx.scopes or ()),
        permissions=sorted(ctx.permissions),
        organisation=Organisation(
            id=ctx.tenant_id,
            slug=ctx.slug,
            name=ctx.tenant_name,
            plan=ctx.rights.plan,
            billing_status=ctx.rights.billing_status,
        ),
    )


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/me",
        handler=get_me,
        action=None,
        summary="Read what this key is and what it may do",
    )
]
