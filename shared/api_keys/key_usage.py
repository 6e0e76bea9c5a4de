"""How API keys are counted: now, at a past time, over all tenants, and what changed them."""

from collections.abc import Sequence
from datetime import datetime

from shared.api_keys import key_repository
from shared.audit.models import AuditEvent
from shared.core.context import Ctx
from shared.core.db import now
from shared.entitlements.limits import LimitUsage
from shared.entitlements.rights_changes import RightsChange
from shared.tenancy import audited_changes

CHANGE_TEXTS = {"api_key.created": "was created", "api_key.revoked": "was revoked"}


async def _count(ctx: Ctx) -> int:
    return await key_repository.count_working_keys(ctx, now())


async def _list_changes(ctx: Ctx, since: datetime, until: datetime) -> Sequence[RightsChange]:
    return await audited_changes.list_changes(ctx, CHANGE_TEXTS, _name_key, since=since, until=until)


def _name_key(event: AuditEvent) -> str:
    return f"The API key {event.details.get('key', event.object_id)}"


KEY_USAGE = LimitUsage(
    now=_count,
    at=key_repository.count_working_keys,
    all_tenants=key_repository.count_working_keys_of_all,
    causes=_list_changes,
)
