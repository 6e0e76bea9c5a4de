"""The manifest of fairness: what each tenant costs, and limits that operators set for a while."""

from shared.audit.event_types import AuditAction
from shared.core.registry import Module, OperatorIndex, TableContract
from shared.fairness import models

MODULE = Module(
    name="fairness",
    models=[models.LoadRow, models.ThrottleRow],
    audit={
        AuditAction.TENANT_THROTTLED: "limited the rate of the organisation",
        AuditAction.TENANT_THROTTLE_ENDED: "ended the limited rate of the organisation",
    },
    tables={
        models.LoadRow: TableContract(
            export=False,
            retention="25 hours",
            operator_indexes=(
                OperatorIndex(
                    name="tenant_load_of_all_tenants",
                    columns=("starts_at", "tenant_id"),
                    reason="Operators list the tenants that cost most in the last hour or day",
                    query="backoffice.noisy_tenants_repository.list_noisy",
                ),
            ),
        ),
        models.ThrottleRow: TableContract(
            export=True,
            personal=("created_by_name", "ended_by_name", "reason"),
            operator_indexes=(
                OperatorIndex(
                    name="tenant_throttle_of_all_tenants",
                    columns=("expires_at",),
                    reason="Every process reads the throttles in force every two seconds",
                    query="fairness.load_repository.list_throttles",
                ),
            ),
        ),
    },
)
