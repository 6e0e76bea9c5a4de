"""The manifest of metering: usage of tenants, counted once."""

from datetime import timedelta

from shared.access.meters import Aggregation, Meter
from shared.access.permissions import Permission
from shared.access.roles import EVERYBODY, MEMBERS
from shared.audit.event_types import AuditAction, with_key
from shared.core.registry import Module, OperatorIndex, TableContract
from shared.metering import actions, api, models, tasks
from shared.metering.usage_export import USAGE

MODULE = Module(
    name="metering",
    models=[
        models.UsageChange,
        models.UsageEmission,
        models.UsageEvent,
        models.UsageKey,
        models.UsageMark,
        models.UsageWindow,
    ],
    permissions={Permission.USAGE_READ: EVERYBODY, Permission.USAGE_WRITE: MEMBERS},
    actions=[actions.USAGE_EXPORT, actions.USAGE_READ, actions.USAGE_WRITE],
    surfaces={"/t/[tenant]/usage": actions.USAGE_READ},
    audit={
        AuditAction.USAGE_CHANGED: with_key("changed closed usage:"),
        AuditAction.USAGE_EXPORTED: "exported usage",
    },
    recorded={
        actions.USAGE_EXPORT.name: (AuditAction.USAGE_EXPORTED,),
        actions.USAGE_WRITE.name: (),  # the events are the record
    },
    meters=[
        Meter(
            key="active_users",
            title="Active users",
            plural="users",
            aggregation=Aggregation.UNIQUE,
            is_open=True,
        ),
        Meter(
            key="api_calls", title="API calls", plural="calls", late_window=timedelta(days=1), per_unit=1_000
        ),
        Meter(
            key="stored_gigabytes",
            title="Stored data",
            plural="GB",
            aggregation=Aggregation.MAX,
            is_open=True,
            dimensions=("region",),
        ),
        Meter(
            key="usage_events",
            title="Usage events",
            plural="events",
            is_open=True,
            dimensions=("customer", "region", "source"),
            per_unit=1_000,
        ),
    ],
    endpoints=api.ENDPOINTS,
    files=[USAGE],
    tasks=tasks.TASKS,
    tables={
        models.UsageChange: TableContract(export=True, retention="accounting"),
        models.UsageEmission: TableContract(export=True, retention="accounting"),
        models.UsageEvent: TableContract(
            export=True, retention="usage", personal=("subject", "dimensions", "recorded_by")
        ),
        models.UsageKey: TableContract(export=False, retention="usage"),
        models.UsageMark: TableContract(export=False),
        models.UsageWindow: TableContract(
            export=True,
            erase_after=("usage_change", "usage_emission"),
            retention="accounting",
            operator_indexes=(
                OperatorIndex(
                    name="usage_window_open_of_all_tenants",
                    columns=("ends_at", "tenant_id"),
                    reason="The worker finds the tenants whose windows have to be closed",
                    query="metering.rollup_repository.list_open_tenants",
                ),
            ),
        ),
    },
)
