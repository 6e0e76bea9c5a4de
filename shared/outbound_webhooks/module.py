"""The manifest of outbound webhooks."""

from shared.access.roles import ADMINS
from shared.audit.event_types import AuditAction, with_name
from shared.core.notification_kinds import NotificationKind
from shared.core.registry import Module, OperatorIndex, TableContract
from shared.outbound_webhooks import actions, api, endpoints, models, pause_notices, tasks

MODULE = Module(
    name="outbound_webhooks",
    models=[models.WebhookAttempt, models.WebhookDelivery, models.WebhookEndpoint],
    permissions={actions.READ: ADMINS, actions.WRITE: ADMINS},
    actions=[
        actions.WEBHOOK_CHANGE,
        actions.WEBHOOK_CREATE,
        actions.WEBHOOK_DELETE,
        actions.WEBHOOK_PAUSE,
        actions.WEBHOOK_READ,
        actions.WEBHOOK_REPLAY,
        actions.WEBHOOK_RESUME,
        actions.WEBHOOK_ROTATE,
        actions.WEBHOOK_TEST,
    ],
    surfaces={"/t/[tenant]/webhooks": actions.WEBHOOK_READ},
    audit={
        AuditAction.WEBHOOK_CHANGED: with_name("changed the webhook"),
        AuditAction.WEBHOOK_CREATED: with_name("added the webhook"),
        AuditAction.WEBHOOK_DELETED: with_name("deleted the webhook"),
        AuditAction.WEBHOOK_PAUSED: with_name("paused the webhook"),
        AuditAction.WEBHOOK_REPLAYED: with_name("sent events again to the webhook"),
        AuditAction.WEBHOOK_RESUMED: with_name("resumed the webhook"),
        AuditAction.WEBHOOK_SECRET_ROTATED: with_name("rotated the secret of the webhook"),
        AuditAction.WEBHOOK_TESTED: with_name("sent a test event to the webhook"),
    },
    recorded={
        actions.WEBHOOK_CHANGE.name: (AuditAction.WEBHOOK_CHANGED,),
        actions.WEBHOOK_CREATE.name: (AuditAction.WEBHOOK_CREATED,),
        actions.WEBHOOK_DELETE.name: (AuditAction.WEBHOOK_DELETED,),
        actions.WEBHOOK_PAUSE.name: (AuditAction.WEBHOOK_PAUSED,),
        actions.WEBHOOK_REPLAY.name: (AuditAction.WEBHOOK_REPLAYED,),
        actions.WEBHOOK_RESUME.name: (AuditAction.WEBHOOK_RESUMED,),
        actions.WEBHOOK_ROTATE.name: (AuditAction.WEBHOOK_SECRET_ROTATED,),
        actions.WEBHOOK_TEST.name: (AuditAction.WEBHOOK_TESTED,),
    },
    endpoints=api.ENDPOINTS,
    notifications=[
        NotificationKind(
            key=pause_notices.WEBHOOKS,
            title="Paused webhooks",
            description="When we pause a webhook because it accepts no events.",
            permission=actions.WRITE,
            events=(pause_notices.KIND,),
            templates=("webhook_paused",),
        )
    ],
    tasks=tasks.TASKS,
    tables={
        models.WebhookAttempt: TableContract(export=True, retention="events", personal=("response_body",)),
        models.WebhookDelivery: TableContract(
            export=True, erase_after=("webhook_attempt",), retention="events"
        ),
        models.WebhookEndpoint: TableContract(
            export=True,
            erase_after=("webhook_delivery",),
            sealed=("secret", "previous_secret", "older_secret"),
            personal=("created_by", "version_by"),
            operator_indexes=(
                OperatorIndex(
                    name="webhook_endpoint_turn_of_all_tenants",
                    columns=("turn_at", "tenant_id"),
                    reason="The dispatcher finds the endpoints of all tenants that have something to send",
                    query="outbound_webhooks.dispatch_repository.claim_deliveries",
                ),
            ),
        ),
    },
    example=lambda ctx: endpoints.create(
        ctx, "https://hooks.example.com/bulkhead", "Example", ["member.removed"]
    ),
)
