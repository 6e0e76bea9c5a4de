"""Invitations by email. A pending one uses a seat."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from shared.access import actions
from shared.access.endpoints import After, ApiCtx, ApiInput, ApiOutput, ApiPage, Endpoint, Limit
from shared.tenancy import invitations
from shared.tenancy.api.parameters import IdText


class Invitation(ApiOutput):
    id: str = Field(examples=["inv_01jz"])
    email: str = Field(examples=["maria@acme.test"])
    role: str = Field(description="Key of the role", examples=["member"])
    invited_by_name: str = Field(examples=["Ann"])
    created_at: datetime
    expires_at: datetime = Field(description="The link works until then")
    delivery_problem: str = Field(
        description="Reply of the mail server that refused the email; empty without one", examples=[""]
    )


class InvitationCreation(ApiInput):
    email: Annotated[str, StringConstraints(max_length=320)] = Field(examples=["maria@acme.test"])
    role: IdText = Field(description="Key of the role", examples=["member"])


async def list_invitations(ctx: ApiCtx, after: After = "", limit: Limit = 50) -> ApiPage[Invitation]:
    page = await invitations.list_page(ctx, after=after, limit=limit)
    return ApiPage(
        items=[Invitation.model_validate(invitation) for invitation in page.rows],
        next=page.next_cursor or None,
    )


async def create_invitation(ctx: ApiCtx, creation: InvitationCreation) -> Invitation:
    return Invitation.model_validate(await invitations.invite(ctx, creation.email, creation.role))


async def resend_invitation(ctx: ApiCtx, invitation_id: IdText) -> Invitation:
    return Invitation.model_validate(await invitations.resend(ctx, invitation_id))


async def revoke_invitation(ctx: ApiCtx, invitation_id: IdText) -> None:
    await invitations.revoke(ctx, invitation_id)


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/invitations",
        handler=list_invitations,
        action=actions.INVITATION_READ,
        summary="List pending invitations",
    ),
    Endpoint(
        method="POST",
        path="/invitations",
        handler=create_invitation,
        action=actions.MEMBER_INVITE,
        summary="Invite a person by email",
        status=201,
    ),
    Endpoint(
        method="POST",
        path="/invitations/{invitation_id}/resend",
        handler=resend_invitation,
        action=actions.MEMBER_INVITE,
        summary="Send a new link, which replaces the former one",
    ),
    Endpoint(
        method="DELETE",
        path="/invitations/{invitation_id}",
        handler=revoke_invitation,
        action=actions.INVITATION_REVOKE,
        summary="Revoke a pending invitation",
        status=204,
    ),
]
