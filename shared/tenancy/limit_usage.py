"""How seats and custom roles are counted: now, at a past time, over all tenants, and what changed them."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit.models import AuditEvent
from shared.core.context import Ctx
from shared.entitlements import assignments, rights_cache
from shared.entitlements.limits import LimitUsage
from shared.entitlements.models import RoleChange
from shared.entitlements.rights_changes import RightsChange
from shared.tenancy import audited_changes, role_repository, seats
from shared.tenancy import limit_usage_repository as repository

SEAT_CHANGE_TEXTS = {  # audit action: what it did to the person's seat
    "invitation.created": "was invited",
    "invitation.revoked": "is no longer invited",
    "membership.deactivated": "was deactivated",
    "membership.reactivated": "was reactivated",
    "membership.removed": "was removed",
}
ACCOUNT_CHANGE_TEXTS = {  # the same of service accounts, where the plan counts them
    "service_account.created": "was created",
    "service_account.ended": "was deleted",
}


def build_role_change(row: RoleChange) -> RightsChange:
    return RightsChange(
        source_id=row.id,
        text=f"The role {row.name} was {'deleted' if row.deleted else 'changed'}.",
        at=row.at,
        object_id=row.key,
        action_prefixes=("role.",),
    )


async def _count_seats_at(ctx: Ctx, at: datetime) -> int:
    """As the plan of that time counted them."""
    used = await repository.count_seats_at(ctx, at)
    snapshot, catalog = await assignments.get_snapshot(ctx, at)
    features = rights_cache.compute_rights(snapshot, catalog, ctx.tenant_state).features
    return used + await repository.count_accounts_at(ctx, at) if seats.ACCOUNT_FEATURE in features else used


async def _list_seat_changes(ctx: Ctx, since: datetime, until: datetime) -> Sequence[RightsChange]:
    texts = SEAT_CHANGE_TEXTS | (ACCOUNT_CHANGE_TEXTS if seats.has_account_seats(ctx) else {})
    return await audited_changes.list_changes(ctx, texts, _get_person_name, since=since, until=until)


def _get_person_name(event: AuditEvent) -> str:
    for side in (event.details, event.after, event.before):
        for key in ("member", "email", "account"):
            if side.get(key):
                return str(side[key])
    return "A member"


async def _count_roles(ctx: Ctx) -> int:
    return len(await role_repository.list_custom_roles(ctx))


async def _count_roles_of_all(session: AsyncSession, _at: datetime) -> dict[str, int]:
    return await repository.count_custom_roles_of_all(session)


async def _list_role_changes(ctx: Ctx, since: datetime, until: datetime) -> Sequence[RightsChange]:
    rows = await repository.list_custom_role_changes(ctx, since, until, audited_changes.MAX_CHANGES)
    return [build_role_change(row) for row in rows]


SEAT_USAGE = LimitUsage(
    now=seats.count,
    at=_count_seats_at,
    all_tenants=repository.count_seats_of_all,
    causes=_list_seat_changes,
)
ROLE_USAGE = LimitUsage(
    now=_count_roles,
    at=repository.count_custom_roles_at,
    all_tenants=_count_roles_of_all,
    causes=_list_role_changes,
)
