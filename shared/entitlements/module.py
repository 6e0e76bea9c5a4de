"""The manifest of entitlements: plans, limits, and what each tenant may use and why."""

from shared.audit.event_types import AuditAction
from shared.core.registry import Module, TableContract
from shared.entitlements import events, models

BY_WHOM = (
    "by_name",
    "closed_by",
    "reason",
)  # columns of every row that an operator or a member sets for a time

MODULE = Module(
    name="entitlements",
    models=[
        models.FlagRow,
        models.FlagVersion,
        models.MembershipChange,
        models.Plan,
        models.PlanVersion,
        models.RoleChange,
        models.TenantAddon,
        models.TenantBilling,
        models.TenantFlag,
        models.TenantOverride,
        models.TenantPlan,
        models.TenantStateChange,
        models.TenantTrait,
    ],
    audit={
        AuditAction.ADDON_ADDED: "added an add-on",
        AuditAction.ADDON_ENDED: "ended an add-on",
        AuditAction.BILLING_STATUS_CHANGED: "set the billing status",
        AuditAction.FLAG_SET: "set a flag",
        AuditAction.OVERRIDE_ENDED: "ended an override",
        AuditAction.OVERRIDE_SET: "set an override",
        AuditAction.PLAN_ASSIGNED: "changed the plan",
        AuditAction.TRAIT_SET: "set a trait",
    },
    events=events.EVENTS,
    tables={
        models.MembershipChange: TableContract(export=True, personal=("user_id",)),
        models.RoleChange: TableContract(export=True),
        models.TenantAddon: TableContract(export=True, personal=BY_WHOM),
        models.TenantBilling: TableContract(export=True, personal=BY_WHOM),
        models.TenantFlag: TableContract(export=True, personal=BY_WHOM),
        models.TenantOverride: TableContract(export=True, personal=BY_WHOM),
        models.TenantPlan: TableContract(export=True, personal=BY_WHOM),
        models.TenantStateChange: TableContract(export=True),
        models.TenantTrait: TableContract(export=True, personal=BY_WHOM),
    },
)
