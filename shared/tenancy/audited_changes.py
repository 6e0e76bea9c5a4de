"""Changes of what a limit counts, as the audit log has them. For limits whose rows don't keep every change."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.audit.models import AuditEvent
from shared.core.context import Ctx
from shared.entitlements.rights_changes import RightsChange

MAX_CHANGES = 5  # of one action
AUDIT_TOLERANCE = timedelta(seconds=30)  # a change and its audit event are written in one transaction


async def list_changes(
    ctx: Ctx,
    texts: Mapping[str, str],
    name_subject: Callable[[AuditEvent], str],
    *,
    since: datetime,
    until: datetime,
) -> list[RightsChange]:
    """`texts`: what happened to the subject, by audit action. The newest of each action."""
    changes = list[RightsChange]()
    for action, text in texts.items():
        event_filter = AuditFilter(action=action, since=since, until=until + AUDIT_TOLERANCE)
        page = await audit_log.list_events(ctx, event_filter, limit=MAX_CHANGES)
        changes += [
            RightsChange(
                source_id=event.id,
                text=f"{name_subject(event)} {text}.",
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
