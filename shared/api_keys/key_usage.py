"""How API keys are counted: now, at a past time, over all tenants, and what changed them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from shared.api_keys import key_repository
from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.core.context import Ctx
from shared.core.db import now
from shared.entitlements.limits import LimitUsage
from shared.entitlements.rights_changes import RightsChange

MAX_CHANGES = 5  # of one kind
AUDIT_TOLERANCE = timedelta(seconds=30)  # a change and its audit event are written in one transaction
CHANGE_TEXTS = {"api_key.created": "was created", "api_key.revoked": "was revoked"}


async def _count(ctx: Ctx) -> int:
    return await key_repository.count_working_keys(ctx, now())


async def _list_changes(ctx: Ctx, since: datetime, until: datetime) -> Sequence[RightsChange]:
    changes = list[RightsChange]()
    for action, text in CHANGE_TEXTS.items():
        event_filter = AuditFilter(action=action, since=since, until=until + AUDIT_TOLERANCE)
        page = await audit_log.list_events(ctx, event_filter, limit=MAX_CHANGES)
        changes += [
            RightsChange(
                source_id=event.id,
                text=f"The API key {event.details.get('key', event.object_id)} {text}.",
                at=event.at,
                actor_name=event.actor_name,
                reason=event.reason,
                object_id=event.object_id,
                action_prefixes=(action,),
            )
            for event in page.rows
            if event.at is not None
        ]
    return changes


KEY_USAGE = LimitUsage(
    now=_count,
    at=key_repository.count_working_keys,
    all_tenants=key_repository.count_working_keys_of_all,
    causes=_list_changes,
)
