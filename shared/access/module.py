"""The manifest of access: counts of decisions. Each module declares its own permissions and actions."""

from shared.access import models
from shared.core.registry import Module, OperatorIndex, TableContract

MODULE = Module(
    name="access",
    models=[models.DecisionCount],
    tables={
        models.DecisionCount: TableContract(
            export=False,
            retention="30 days",
            personal=("actor_id",),
            operator_indexes=(
                OperatorIndex(
                    name="decision_count_by_request_of_all_tenants",
                    columns=("request_id", "tenant_id"),
                    reason="Operators find what a request was refused, by its reference",
                    query="backoffice.request_search.find_request",
                ),
            ),
        )
    },
)
