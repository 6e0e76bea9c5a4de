"""The manifest of access: counts and records of decisions. Each module declares its own permissions and actions."""

from shared.access import models
from shared.core.registry import Module, OperatorIndex, TableContract

MODULE = Module(
    name="access",
    models=[models.DecisionCount, models.DecisionRecord],
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
        ),
        models.DecisionRecord: TableContract(
            export=False,
            retention="90 days",
            personal=("actor_id", "holder_id"),
            operator_indexes=(
                OperatorIndex(
                    name="decision_record_by_id_of_all_tenants",
                    columns=("id", "tenant_id"),
                    reason="Operators find a decision by the id that a person was shown",
                    query="backoffice.request_search.find_request",
                ),
                OperatorIndex(
                    name="decision_record_by_request_of_all_tenants",
                    columns=("request_id", "tenant_id"),
                    reason="Operators find what a request was allowed and refused, by its reference",
                    query="backoffice.request_search.find_request",
                ),
            ),
        ),
    },
)
