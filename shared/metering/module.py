"""The manifest of metering: usage of tenants, counted once."""

from datetime import timedelta

from shared.access.meters import Aggregation, Meter
from shared.access.permissions import Permission
from shared.access.roles import ADMINS, EVERYBODY, MEMBERS
from shared.audit.event_types import AuditAction, with_key, with_usage
from shared.audit.public_events import EventType
from shared.core.registry import Module, OperatorIndex, TableContract
from shared.entitlements.limits import LimitKind, LimitPeriod
from shared.metering import actions, api, correction_api, limit_warnings, models, quotas, tasks
from shared.metering.events_export import USAGE_EVENTS
from shared.metering.usage_export import USAGE

MODULE = Module(
    name="metering",
    models=[
        models.UsageChange,
        models.UsageCheck,
        models.UsageCorrection,
        models.UsageCorrectionItem,
        models.UsageCounter,
        models.UsageDraw,
        models.UsageEmission,
        models.UsageEvent,
        models.UsageKey,
        models.UsageMark,
        models.UsageReservation,
        models.UsageWindow,
    ],
    permissions={
        Permission.USAGE_CORRECT: ADMINS,
        Permission.USAGE_READ: EVERYBODY,
        Permission.USAGE_WRITE: MEMBERS,
    },
    actions=[actions.USAGE_CORRECT, actions.USAGE_EXPORT, actions.USAGE_READ, actions.USAGE_WRITE],
    surfaces={"/t/[tenant]/usage": actions.USAGE_READ},
    limits=[
        LimitKind(
            "api_calls",
            "API calls",
            "call",
            "calls",
            LimitPeriod.MONTH,
            "Wait for the first of the month",
            usage=quotas.build_limit_usage("api_calls"),
        ),
        LimitKind(
            "usage_events",
            "Usage events",
            "event",
            "events",
            LimitPeriod.MONTH,
            "Wait for the first of the month",
            usage=quotas.build_limit_usage("usage_events"),
        ),
    ],
    events=[
        EventType(
            name="usage.limit_warning",
            title="80 % or all of a monthly limit is used",
            action=AuditAction.USAGE_LIMIT_WARNING,
            permission=Permission.USAGE_READ,
            fields={
                "meter": "details.meter",
                "percent": "after.percent",
                "used": "after.used",
                "allowed": "after.allowed",
                "is_hard": "details.is_hard",
                "resets_at": "details.resets_at",
            },
            example={
                "meter": "usage_events",
                "percent": 80,
                "used": "400000",
                "allowed": 500_000,
                "is_hard": True,
                "resets_at": "2027-01-01T00:00:00+00:00",
            },
        ),
    ],
    audit={
        AuditAction.USAGE_CHANGED: with_usage("changed closed usage:"),
        AuditAction.USAGE_CHECK_ASKED: "compared usage with its events",
        AuditAction.USAGE_CORRECTION_ASKED: with_key("asked for a correction of usage:"),
        AuditAction.USAGE_CORRECTION_CLOSED: with_key("closed the correction of usage"),
        AuditAction.USAGE_CORRECTION_OPENED: with_key("opened the correction of usage"),
        AuditAction.USAGE_CORRECTION_REVERTED: with_key("reverted the correction of usage"),
        AuditAction.USAGE_EXPORTED: "exported usage",
        AuditAction.USAGE_LIMIT_WARNING: with_usage("warned about a monthly limit:"),
        AuditAction.USAGE_RECOMPUTE_ASKED: with_usage("asked to recompute"),
        AuditAction.USAGE_RECOMPUTED: with_usage("recomputed"),
    },
    recorded={
        actions.USAGE_CORRECT.name: (
            AuditAction.USAGE_CORRECTION_CLOSED,
            AuditAction.USAGE_CORRECTION_OPENED,
            AuditAction.USAGE_CORRECTION_REVERTED,
        ),
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
            key="connected_devices",
            title="Connected devices",
            plural="devices",
            aggregation=Aggregation.LAST,
            is_open=True,
            dimensions=("region",),
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
    endpoints=[*api.ENDPOINTS, *correction_api.ENDPOINTS],
    files=[USAGE, USAGE_EVENTS],
    notifications=[limit_warnings.USAGE_LIMITS],
    tasks=tasks.TASKS,
    tables={
        models.UsageChange: TableContract(export=True, retention="accounting"),
        models.UsageCounter: TableContract(
            export=True,
            erase_after=("usage_reservation",),
            retention="accounting",
            operator_indexes=(
                OperatorIndex(
                    name="usage_counter_warned_of_all_tenants",
                    columns=("ends_at", "tenant_id"),
                    reason="Operators count and list tenants that are near a limit",
                    query="backoffice.tenant_directory.get_overview",
                ),
            ),
        ),
        models.UsageDraw: TableContract(export=False),
        models.UsageCheck: TableContract(export=False),
        models.UsageCorrection: TableContract(
            export=True,
            erase_after=("usage_correction_item",),
            retention="accounting",
            personal=("note", "opened_by", "opened_by_name"),
        ),
        models.UsageCorrectionItem: TableContract(
            export=True, retention="accounting", personal=("subject", "dimensions")
        ),
        models.UsageEmission: TableContract(export=True, retention="accounting"),
        models.UsageEvent: TableContract(
            export=True, retention="usage", personal=("subject", "dimensions", "recorded_by")
        ),
        models.UsageKey: TableContract(export=False, retention="usage"),
        models.UsageMark: TableContract(export=False),
        models.UsageReservation: TableContract(export=False, retention="30 seconds"),
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
                OperatorIndex(
                    name="usage_window_of_all_tenants",
                    columns=("meter", "starts_at", "tenant_id", "quantity"),
                    reason="Operators list the tenants that use most of a meter",
                    query="backoffice.usage_overview_repository.list_top_tenants",
                ),
            ),
        ),
    },
)
