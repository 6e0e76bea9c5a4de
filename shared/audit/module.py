"""The manifest of the audit log. Who may read it is in the manifest of tenancy, whose services ask."""

from shared.audit import models
from shared.core.registry import Module, OperatorIndex, TableContract

MODULE = Module(
    name="audit",
    models=[
        models.AuditEvent,
        models.AuditHead,
        models.AuditSeal,
        models.AuditVerification,
        models.BugReport,
        models.EventOutbox,
        models.OperatorEvent,
        models.SecurityEvent,
    ],
    tables={
        models.AuditEvent: TableContract(
            export=True,
            retention="audit",
            personal=("actor_id", "actor_name", "before", "after", "details", "reason"),
            operator_indexes=(
                OperatorIndex(
                    name="audit_event_by_request_of_all_tenants",
                    columns=("request_id", "tenant_id"),
                    reason="Operators find what a request did, by the reference that a person was shown",
                    query="backoffice.request_search.find_request",
                ),
                OperatorIndex(
                    name="audit_event_by_transaction_of_all_tenants",
                    columns=("transaction_id", "tenant_id"),
                    reason="The sealer finds the events of all tenants that are not sealed yet",
                    query="audit.sealing.seal_all",
                ),
                OperatorIndex(
                    name="audit_event_of_all_tenants",
                    columns=("at", "tenant_id", "id"),
                    reason="Operators read the newest events of all tenants",
                    query="backoffice.tenant_directory.list_all_events",
                ),
            ),
        ),
        models.EventOutbox: TableContract(
            export=False,  # the export has what it tells, in the audit log
            erase_after=("webhook_delivery",),
            retention="events",
            personal=("body",),
            operator_indexes=(
                OperatorIndex(
                    name="event_outbox_waiting_of_all_tenants",
                    columns=("seq", "tenant_id"),
                    reason="The dispatcher finds the events of all tenants that have no deliveries yet",
                    query="outbound_webhooks.dispatch_repository.fan_out_events",
                ),
            ),
        ),
        models.AuditHead: TableContract(export=False, retention="audit"),
        models.AuditSeal: TableContract(export=True, retention="audit"),
        models.AuditVerification: TableContract(export=False, retention="audit"),
    },
)
