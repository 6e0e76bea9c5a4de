"""The manifest of the audit log. Who may read it is in the manifest of tenancy, whose services ask."""

from shared.audit import models
from shared.core.registry import Module, TableContract

MODULE = Module(
    name="audit",
    models=[models.AuditEvent, models.AuditHead, models.OperatorEvent, models.SecurityEvent],
    tables={
        models.AuditEvent: TableContract(
            export=True,
            retention="audit",
            personal=("actor_id", "actor_name", "before", "after", "details", "reason"),
        ),
        models.AuditHead: TableContract(export=False, retention="audit"),
    },
)
