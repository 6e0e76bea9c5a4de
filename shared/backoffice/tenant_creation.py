"""Create a tenant for a customer: the same set-up as a sign-up, with an owner who has not asked for it yet.

The owner of an address that is not verified gets the mail that verifies it, and chooses a password then. Until then the
tenant waits, as after a sign-up. An owner with a verified account has the tenant at once and gets the welcome mail.
"""

from dataclasses import dataclass

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import tenant_access
from shared.backoffice.reasons import Reason, state_reason, use_reason
from shared.core import crypto, db
from shared.core.context import OperatorCtx
from shared.core.errors import Conflict
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.identity import email_addresses, users
from shared.tenancy import naming, signups
from shared.tenancy.models import TenantState


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantOrder:
    """`slug`: "" for one made of the name. `plan_version_id`: "" for the plan of a sign-up."""

    owner_email: str
    owner_name: str
    name: str  # of the organisation
    slug: str = ""
    plan_version_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedTenant:
    id: str
    slug: str
    name: str
    state: TenantState
    owner_id: str


async def create_tenant(octx: OperatorCtx, order: TenantOrder, reason: Reason) -> CreatedTenant:
    """Raises Invalid, NotFound for an unknown plan version, Conflict for a slug that is taken or a disabled account.

    Raises Refused without the right to assign plans where one is named, and after many mails to one address.
    """
    policy.require_operator(octx, actions.OP_TENANT_CREATE)
    if order.plan_version_id:
        policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
    reason_text = use_reason(octx, reason)
    email, owner_name = email_addresses.parse_address(order.owner_email), users.clean_name(order.owner_name)
    name, slug = naming.clean_name(order.name), naming.clean_slug(order.slug) if order.slug else ""
    await enforce_rate_limit(RateLimit.SIGN_UP_ACCOUNT, crypto.hash_token(email))  # each is a mail
    owner = await users.add_unverified(octx.session, email, owner_name)
    if owner.disabled_at is not None:
        raise Conflict(
            "The account with this address is disabled.", "Enable it first, or name another owner."
        )
    is_verified = owner.email_verified_at is not None
    tenant = await signups.found_tenant(
        octx.session,
        owner,
        name,
        state=TenantState.ACTIVE if is_verified else TenantState.PENDING_VERIFICATION,
        slug=slug,
        founder=octx.actor,
        reason=reason_text,
    )
    created = CreatedTenant(id=tenant.id, slug=tenant.slug, name=name, state=tenant.state, owner_id=owner.id)
    await db.clear_scope(octx.session)
    if not is_verified:
        await users.request_verification(octx.session, email)
    if order.plan_version_id:
        plan_reason = state_reason(octx, reason_text, tenant_id=created.id)
        await tenant_access.assign_plan(octx, created.id, order.plan_version_id, plan_reason)
    audit_log.record_operator(
        octx, "tenant.created", created.id, reason=reason_text, slug=created.slug, owner=owner.id
    )
    return created
