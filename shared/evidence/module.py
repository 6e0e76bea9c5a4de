"""The manifest of evidence."""

from shared.audit.event_types import AuditAction, with_name
from shared.core.registry import Module, OperatorIndex, TableContract
from shared.evidence import actions, models, signed_exports, streams, tasks

MODULE = Module(
    name="evidence",
    models=[models.AuditAnchor, models.AuditStream, models.PlatformAnchor],
    permissions={
        actions.READ: (),
        actions.WRITE: (),
    },  # owners only: whoever decides where the log goes can read it
    actions=[
        actions.AUDIT_STREAM_CHANGE,
        actions.AUDIT_STREAM_CREATE,
        actions.AUDIT_STREAM_DELETE,
        actions.AUDIT_STREAM_PAUSE,
        actions.AUDIT_STREAM_READ,
        actions.AUDIT_STREAM_TEST,
    ],
    surfaces={"/t/[tenant]/settings/audit": actions.AUDIT_STREAM_READ},
    audit={
        AuditAction.AUDIT_STREAM_CREATED: with_name("added the audit log stream"),
        AuditAction.AUDIT_STREAM_DELETED: with_name("deleted the audit log stream"),
        AuditAction.AUDIT_STREAM_PAUSED: with_name("paused the audit log stream"),
        AuditAction.AUDIT_STREAM_RESUMED: with_name("resumed the audit log stream"),
        AuditAction.AUDIT_STREAM_TESTED: with_name("sent a test event to the audit log stream"),
    },
    recorded={
        actions.AUDIT_STREAM_CHANGE.name: (AuditAction.AUDIT_STREAM_RESUMED,),
        actions.AUDIT_STREAM_CREATE.name: (AuditAction.AUDIT_STREAM_CREATED,),
        actions.AUDIT_STREAM_DELETE.name: (AuditAction.AUDIT_STREAM_DELETED,),
        actions.AUDIT_STREAM_PAUSE.name: (AuditAction.AUDIT_STREAM_PAUSED,),
        actions.AUDIT_STREAM_TEST.name: (AuditAction.AUDIT_STREAM_TESTED,),
    },
    example=lambda ctx: streams.create(ctx, "https", "https://siem.example.com/bulkhead"),
    tasks=tasks.PLATFORM_TASKS,
    files=[signed_exports.SIGNED_AUDIT_LOG],
    tables={
        models.AuditAnchor: TableContract(
            export=False,
            retention="audit",
            operator_indexes=(
                OperatorIndex(
                    name="audit_anchor_problems_of_all_tenants",
                    columns=("problem_at", "tenant_id"),
                    reason="Operators list the broken chains",
                    query="backoffice.audit_evidence_repository.list_problems",
                ),
            ),
        ),
        models.AuditStream: TableContract(
            export=True,
            sealed=("secret",),
            personal=("created_by", "version_by"),
            operator_indexes=(),
        ),
    },
)
