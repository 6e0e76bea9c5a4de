"""What operators call the states of things, with the tone of their badges."""

from datetime import UTC, datetime

from shared.audit.event_types import OperatorAuditAction
from shared.backoffice.flag_admin import FlagSummary
from shared.core.plurals import plural as plural
from shared.entitlements.flag_evaluation import is_active
from shared.tenancy.models import MembershipState, StepState, TenantState
from shared.ui.tables import TONE_BY_LABEL

TENANT_STATE_LABELS = {
    TenantState.ACTIVE: "Active",
    TenantState.PENDING_VERIFICATION: "Unverified",
    TenantState.SUSPENDED: "Suspended",
    TenantState.DELETED: "Deleted",
}
STEP_STATE_LABELS = {
    StepState.DONE: "Done",
    StepState.FAILED: "Failed",
    StepState.RUNNING: "Running",
    StepState.WAITING: "Waiting",
}
MEMBER_STATE_LABELS = {
    MembershipState.ACTIVE: "Active",
    MembershipState.DEACTIVATED: "Deactivated",
    MembershipState.REMOVED: "Removed",
}
JOB_STATUS_LABELS = {"waiting": "Waiting", "retrying": "Retrying", "running": "Running", "failed": "Failed"}
SECURITY_EVENT_LABELS = {  # kind: title, what it means
    "cross_tenant_attempt": (
        "Cross-tenant attempts",
        "A signed-in person asked for an organisation that is not theirs. Refused as not found.",
    ),
    "missing_tenant_context": (
        "Missing tenant context",
        "Our own code asked for tenant data without a tenant. Refused; must stay at 0.",
    ),
    "code_guessed": ("Wrong codes", "A second factor was tried too often. That sign-in has ended."),
    "foreign_origin": (
        "Foreign origin",
        "Another web site tried to open a connection with a session of ours.",
    ),
    "foreign_token": ("Foreign token", "A connection named a tab that another session holds."),
}

REFUSAL_LABELS = {  # why something is refused, in short
    "billing_none": "nothing is paid",
    "billing_read_only": "a payment is overdue",
    "flag_off": "not switched on yet",
    "limit_reached": "limit reached",
    "not_in_plan": "not in the plan",
    "tenant_deleted": "deleted",
    "tenant_suspended": "suspended",
    "tenant_unverified": "not verified",
    "trial_ended": "trial ended",
}


def flag_badge(flag: FlagSummary) -> tuple[str, str]:
    """Word and tone of a badge: whom it is on for now, in two or three words."""
    at, version = datetime.now(UTC), flag.version
    if flag.row.retired_at is not None:
        return "Retired", tone_of("Retired")
    if version.killed:
        return "Killed", tone_of("Killed")
    rules = [rule for rule in version.rules if is_active(rule, at)]
    if any(rule["kind"] == "everyone" or rule.get("percent") == 100 for rule in rules):
        return "On for everyone", tone_of("On for everyone")
    if not rules:
        return "Off", tone_of("Off")
    shares = [float(rule["percent"]) for rule in rules if rule["kind"] == "percentage"]
    return (f"{max(shares):g} %" if len(shares) == len(rules) else "On for some"), "accent"


def tone_of(label: str) -> str:
    return TONE_BY_LABEL[label]


OPERATOR_AUDIT_TEXTS = {  # completes "Olga …"; where it ends in "…", whom it was done to follows
    OperatorAuditAction.ADDON_CREATED: "created the add-on …",
    OperatorAuditAction.BILLING_RECONCILE_ASKED: "had every customer compared with the provider",
    OperatorAuditAction.DRAFT_DISCARDED: "discarded the draft of …",
    OperatorAuditAction.DRAFT_OPENED: "opened a draft of …",
    OperatorAuditAction.DRAFT_PUBLISHED: "published a version of …",
    OperatorAuditAction.DRAFT_SAVED: "changed the draft of …",
    OperatorAuditAction.FACTOR_CODES_RENEWED: "made new recovery codes",
    OperatorAuditAction.FACTOR_ENROLLED: "enrolled a second factor",
    OperatorAuditAction.FLAG_CLEANUP_MOVED: "moved the clean-up date of the flag …",
    OperatorAuditAction.FLAG_CREATED: "created the flag …",
    OperatorAuditAction.FLAG_KILLED: "killed the flag …",
    OperatorAuditAction.FLAG_RETIRED: "retired the flag …",
    OperatorAuditAction.FLAG_REVIVED: "revived the flag …",
    OperatorAuditAction.FLAG_RULES_CHANGED: "changed the rules of the flag …",
    OperatorAuditAction.KEYS_ROTATED: "wrapped the keys of tenants anew",
    OperatorAuditAction.OPERATOR_ACCESS_RESET: "reset the access of the operator …",
    OperatorAuditAction.OPERATOR_CREATED: "created the operator …",
    OperatorAuditAction.OPERATOR_DISABLED: "disabled the operator …",
    OperatorAuditAction.OPERATOR_ENABLED: "enabled the operator …",
    OperatorAuditAction.OPERATOR_RENAMED: "changed their name",
    OperatorAuditAction.OPERATOR_ROLE_CHANGED: "changed the role of the operator …",
    OperatorAuditAction.PASSWORD_CHANGED: "changed their password",
    OperatorAuditAction.PLAN_CREATED: "created the plan …",
    OperatorAuditAction.PLAN_RETIRED: "retired …",
    OperatorAuditAction.PRICES_COMPARED: "compared the prices with the provider",
    OperatorAuditAction.PRICES_PUSHED: "pushed the prices to the provider",
    OperatorAuditAction.PRICE_SET: "set a price of …",
    OperatorAuditAction.PROVIDER_ACCOUNT_ADDED: "added the payment account …",
    OperatorAuditAction.PROVIDER_ACCOUNT_SECRETS_CHANGED: "changed the secrets of the payment account …",
    OperatorAuditAction.PROVIDER_ACCOUNT_UNPAUSED: "resumed the payment account …",
    OperatorAuditAction.SESSION_ENDED: "signed out",
    OperatorAuditAction.SESSION_STARTED: "signed in",
    OperatorAuditAction.TENANTS_READ_ACROSS: "read across tenants",
    OperatorAuditAction.USER_DISABLED: "disabled the account of …",
    OperatorAuditAction.USER_ENABLED: "enabled the account of …",
    OperatorAuditAction.WEBHOOKS_REPLAYED: "replayed dead webhooks",
    OperatorAuditAction.WEBHOOK_REPLAYED: "replayed the webhook …",
}
