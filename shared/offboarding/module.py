"""The manifest of offboarding."""

from shared.access.permissions import Permission
from shared.audit.event_types import AuditAction
from shared.core.registry import Module, OperatorIndex, TableContract
from shared.offboarding import actions, deletion_notices, models

MODULE = Module(
    name="offboarding",
    models=[models.TenantDeletion],
    permissions={Permission.TENANT_DELETE: ()},
    actions=[actions.DELETION_READ, actions.DELETION_WRITE],
    audit={
        AuditAction.TENANT_DELETED: "deleted the organisation",
        AuditAction.TENANT_DELETION_CANCELED: "cancelled the deletion of the organisation",
        AuditAction.TENANT_DELETION_HELD: "delayed the deletion of the organisation",
        AuditAction.TENANT_DELETION_SCHEDULED: "scheduled the deletion of the organisation",
    },
    recorded={
        actions.DELETION_WRITE.name: (
            AuditAction.TENANT_DELETION_CANCELED,
            AuditAction.TENANT_DELETION_SCHEDULED,
        ),
    },
    notifications=[deletion_notices.DELETION],
    tables={
        models.TenantDeletion: TableContract(
            export=True,
            retention="audit",
            personal=("reason", "requested_by", "canceled_by"),
            operator_indexes=(
                OperatorIndex(
                    name="tenant_deletion_due_of_all_tenants",
                    columns=("delete_at", "tenant_id"),
                    reason="Operators list the deletions that are scheduled or wait for the erasure",
                    query="offboarding.deletion_repository.list_unfinished",
                ),
            ),
        ),
    },
)
