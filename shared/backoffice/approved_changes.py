"""The actions of the platform that need a second operator: what each asks for, shows and does.

A module declares its own in the same way: an OperatorAction with `needs_approval`, and an `ApprovalKind` in its manifest.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import AwareDatetime

from shared.access import actions, policy
from shared.backoffice import (
    approvals,
    catalog_drafts,
    flag_admin,
    flag_exposure,
    impersonations,
    price_admin,
    tenant_deletions,
    tenant_directory,
)
from shared.backoffice.approval_kinds import ApprovalKind, ApprovalPayload, ApprovalPreview, PreviewLine
from shared.backoffice.approvals import Submission
from shared.backoffice.catalog_drafts import PublishRequest
from shared.backoffice.impersonations import ImpersonationRequest, RequestedImpersonation
from shared.backoffice.price_admin import PriceRequest
from shared.backoffice.reasons import Reason
from shared.billing.pricing import prices
from shared.billing.pricing.prices import Tier
from shared.core.context import OperatorCtx
from shared.core.ids import new_id
from shared.entitlements import flag_rules


class DraftPublication(ApprovalPayload):
    draft_id: str
    revision: int
    moves: bool
    confirmed_digest: str  # of the requester's preview
    effective_at: AwareDatetime | None = None


class PriceChange(ApprovalPayload):
    version_id: str
    period: str
    kind: str
    currency: str
    amount: int
    tiers: tuple[tuple[int | None, int, int], ...] = ()
    meter: str = ""
    tax_behavior: str = ""
    effective_at: AwareDatetime | None = None
    known_prices: int | None = None


class FlagRelease(ApprovalPayload):
    """`rules`: None revives the flag with the rules that it has. `Any`: `flag_rules.parse_rules` checks them."""

    flag: str
    number: int
    rules: list[dict[str, Any]] | None = None


class TenantDeletionOrder(ApprovalPayload):
    grace_days: int


class WriteSession(ApprovalPayload):
    """A support session that may change something. `person_name`: as read at the time of the request."""

    impersonation_id: str
    membership_id: str
    person_name: str
    ticket: str
    minutes: int
    write_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedSession:
    """`submission`: of a session that may change something; None for one that only reads."""

    requested: RequestedImpersonation
    submission: Submission | None = None


async def change_flag(
    octx: OperatorCtx, flag: str, number: int, rules: list[dict[str, Any]] | None, *, reason: Reason
) -> Submission:
    """Change the rules, or revive the flag with those that it has (None). Ask for approval where it turns on for everyone.

    Raises as `flag_admin.change_rules` and `revive_flag`.
    """
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    current = (await flag_admin.get_flag(octx, flag)).versions[0]
    checked_rules = current.rules if rules is None else await flag_admin.parse_rules(octx, rules)
    change = FlagRelease(flag=flag, number=number, rules=rules)
    if flag_admin.is_release(current, checked_rules):
        return await approvals.submit(octx, actions.OP_FLAG_RELEASE, change, reason)
    await _release_flag(octx, change, reason)
    return Submission(approval_id="", subject=flag)


async def request_support_session(
    octx: OperatorCtx, tenant_id: str, order: ImpersonationRequest, reason: Reason
) -> RequestedSession:
    """Request a support session, or ask for approval where it may change something. Without a second operator it begins.

    Raises as `impersonations.request` and `approvals.submit`.
    """
    policy.require_operator(octx, actions.OP_IMPERSONATE)
    if not order.can_write:
        return RequestedSession(requested=await impersonations.request(octx, tenant_id, order, reason))
    target = await impersonations.check_request(octx, tenant_id, order, reason)
    payload = WriteSession(
        tenant_id=tenant_id,
        impersonation_id=new_id("imp"),
        membership_id=order.membership_id,
        person_name=target.person_name,
        ticket=order.ticket,
        minutes=order.minutes,
        write_reason=order.write_reason,
    )
    submission = await approvals.submit(octx, actions.OP_IMPERSONATE_WRITE, payload, reason)
    if submission.is_waiting:
        return RequestedSession(
            requested=RequestedImpersonation(id=payload.impersonation_id), submission=submission
        )
    requested = await impersonations.begin_if_ready(octx, tenant_id, payload.impersonation_id)
    return RequestedSession(requested=requested, submission=submission)


async def _preview_publication(octx: OperatorCtx, payload: DraftPublication) -> ApprovalPreview:
    """The numbers are those of now: the second operator sees the effect that publishing has today."""
    simulated = await catalog_drafts.simulate_draft(
        octx, payload.draft_id, payload.revision, moves=payload.moves, effective_at=payload.effective_at
    )
    publication = await catalog_drafts.describe_draft(octx, payload.draft_id)
    start = f"{payload.effective_at:%-d %B %Y, %H:%M} UTC" if payload.effective_at else "When it’s approved"
    return ApprovalPreview(
        object_id=payload.draft_id,
        subject=publication.title,
        lines=(
            *(PreviewLine(label=name, before=old, after=new) for name, old, new in publication.changes),
            PreviewLine(label="In force", after=start),
            PreviewLine(
                label="Tenants on earlier versions", after="Move to this one" if payload.moves else "Stay"
            ),
        ),
        effects=tuple(
            PreviewLine(label=name.replace("_", " ").capitalize(), after=f"{number:,}")
            for name, number in simulated.report.numbers.items()
        ),
    )


async def _publish(octx: OperatorCtx, payload: DraftPublication, reason: Reason) -> None:
    digest = payload.confirmed_digest
    if octx.approval is not None and octx.approval.id:
        # Other plans and flags may have changed since: what the second operator approves is the impact of now.
        simulated = await catalog_drafts.simulate_draft(
            octx, payload.draft_id, payload.revision, moves=payload.moves, effective_at=payload.effective_at
        )
        digest = simulated.digest
    request = PublishRequest(
        revision=payload.revision,
        reason=reason.text,
        moves=payload.moves,
        confirmed_digest=digest,
        effective_at=payload.effective_at,
    )
    await catalog_drafts.publish(octx, payload.draft_id, request)


def build_price_request(payload: PriceChange) -> PriceRequest:
    fields = payload.model_dump(exclude={"tenant_id", "tiers"})
    return PriceRequest(**fields, tiers=tuple(Tier(*tier) for tier in payload.tiers))


async def _preview_price(octx: OperatorCtx, payload: PriceChange) -> ApprovalPreview:
    planned = await price_admin.plan_price(octx, build_price_request(payload))
    start = f"{payload.effective_at:%-d %B %Y, %H:%M} UTC" if payload.effective_at else "When it’s approved"
    return ApprovalPreview(
        object_id=":".join(prices.get_price_key(planned.price)),
        subject=f"{planned.plan.name}, version {planned.version.number}",
        lines=(
            PreviewLine(label=planned.title, before=planned.before_text, after=planned.after_text),
            PreviewLine(label="In force", after=start),
        ),
    )


async def _set_price(octx: OperatorCtx, payload: PriceChange, reason: Reason) -> None:
    await price_admin.set_price(octx, build_price_request(payload), reason)


async def _preview_release(octx: OperatorCtx, payload: FlagRelease) -> ApprovalPreview:
    detail = await flag_admin.get_flag(octx, payload.flag)
    current = detail.versions[0]
    rules = current.rules if payload.rules is None else await flag_admin.parse_rules(octx, payload.rules)
    flag_admin.require_number(detail.flag.row, current, payload.number, flag_rules.describe_rules(rules))
    impact = await flag_exposure.simulate_rules(octx, payload.flag, rules)
    return ApprovalPreview(
        object_id=payload.flag,
        subject=detail.flag.row.title,
        lines=(
            PreviewLine(
                label="On for",
                before=flag_rules.describe_rules(current.rules, killed=current.killed),
                after=flag_rules.describe_rules(rules),
            ),
        ),
        effects=(PreviewLine(label="Tenants", before=f"{impact.before:,}", after=f"{impact.after:,}"),),
    )


async def _release_flag(octx: OperatorCtx, payload: FlagRelease, reason: Reason) -> None:
    if payload.rules is None:
        await flag_admin.revive_flag(octx, payload.flag, payload.number, reason)
    else:
        await flag_admin.change_rules(octx, payload.flag, payload.number, payload.rules, reason)


async def _preview_deletion(octx: OperatorCtx, payload: TenantDeletionOrder) -> ApprovalPreview:
    tenant_deletions.require_grace_days(payload.grace_days)
    tenant = await tenant_directory.get_tenant(octx, payload.tenant_id)
    return ApprovalPreview(
        object_id=payload.tenant_id,
        subject=tenant.name,
        lines=(
            PreviewLine(label="Deleted", after=f"{payload.grace_days} days after the approval"),
            PreviewLine(label="Status", after=str(tenant.state)),
            PreviewLine(label="Address", after=tenant.slug),
        ),
    )


async def _delete_tenant(octx: OperatorCtx, payload: TenantDeletionOrder, reason: Reason) -> None:
    await tenant_deletions.schedule(octx, payload.tenant_id, reason, grace_days=payload.grace_days)


async def _preview_write_session(octx: OperatorCtx, payload: WriteSession) -> ApprovalPreview:
    tenant = await tenant_directory.get_tenant(octx, payload.tenant_id)
    return ApprovalPreview(
        object_id=payload.membership_id,
        subject=f"{payload.person_name}, {tenant.name}",
        lines=(
            PreviewLine(label="Acts for", after=payload.person_name),
            PreviewLine(label="Reason for changes", after=payload.write_reason),
            PreviewLine(label="Ticket", after=payload.ticket),
            PreviewLine(label="Duration", after=f"{payload.minutes} minutes"),
            PreviewLine(label="Status of the organisation", after=str(tenant.state)),
        ),
    )


async def _request_write_session(octx: OperatorCtx, payload: WriteSession, reason: Reason) -> None:
    order = ImpersonationRequest(
        membership_id=payload.membership_id,
        ticket=payload.ticket,
        minutes=payload.minutes,
        can_write=True,
        write_reason=payload.write_reason,
    )
    await impersonations.request(
        octx, payload.tenant_id, order, reason, impersonation_id=payload.impersonation_id
    )


# `Any`: each has a payload of its own.
KINDS: tuple[ApprovalKind[Any], ...] = (
    ApprovalKind(
        action=actions.OP_CATALOG_PUBLISH,
        payload=DraftPublication,
        preview=_preview_publication,
        execute=_publish,
    ),
    ApprovalKind(
        action=actions.OP_FLAG_RELEASE, payload=FlagRelease, preview=_preview_release, execute=_release_flag
    ),
    ApprovalKind(
        action=actions.OP_IMPERSONATE_WRITE,
        payload=WriteSession,
        preview=_preview_write_session,
        execute=_request_write_session,
    ),
    ApprovalKind(
        action=actions.OP_PRICE_SET, payload=PriceChange, preview=_preview_price, execute=_set_price
    ),
    ApprovalKind(
        action=actions.OP_TENANT_DELETE,
        payload=TenantDeletionOrder,
        preview=_preview_deletion,
        execute=_delete_tenant,
    ),
)
