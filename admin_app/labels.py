"""The labels that operators read for states, with the tone of their badges, and audit texts."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.audit.event_types import AuditText, OperatorAuditAction, with_name
from shared.backoffice.flag_admin import FlagSummary
from shared.backoffice.models import ApprovalState
from shared.billing.subscriptions.cancellation import CANCELLATION_REASONS
from shared.core import money
from shared.core.plurals import plural as plural
from shared.entitlements.flag_evaluation import is_active
from shared.tenancy.models import MembershipState, StepState, TenantState
from shared.ui.decision_trace import Change
from shared.ui.tables import TONE_BY_LABEL

APPROVAL_LABELS = {  # label, tone
    ApprovalState.WAITING: ("Waiting", "wait"),
    ApprovalState.APPROVED: ("Approved", "ok"),
    ApprovalState.DECLINED: ("Declined", "bad"),
    ApprovalState.WITHDRAWN: ("Withdrawn", "idle"),
    ApprovalState.EXPIRED: ("Expired", "idle"),
}
WEBHOOK_STATUS_LABELS = {  # label, tone, explanation
    "pending": ("Waiting", "wait", "In the queue."),
    "working": ("Working", "accent", "Its customer is being synced."),
    "parked": ("Parked", "idle", "Unknown customer. It continues when an organisation has this customer."),
    "dead": ("Dead", "bad", "All attempts failed. Replay it to try again."),
    "done": ("Done", "ok", "Its customer was synced after it arrived."),
    "ignored": ("Not needed", "idle", "Stored; no action needed."),
}
INVOICE_STATUS_LABELS = {
    "draft": ("Draft", "idle"),
    "open": ("Open", "warn"),
    "paid": ("Paid", "ok"),
    "void": ("Void", "idle"),
    "uncollectible": ("Uncollectible", "bad"),
}
ADJUSTMENT_STATE_LABELS = {
    "requested": ("In progress", "wait"),
    "done": ("Done", "ok"),
    "failed": ("Failed", "bad"),
}
ADJUSTMENT_KIND_LABELS = {"credit": "Credit", "refund": "Refund", "debit": "Debit"}
CAUSE_LABELS = {
    "webhook": "Webhook received",
    "reconcile": "Reconciliation",
    "return": "Returned from checkout",
    "member": "Requested by a member",
    "operator": "Requested by an operator",
}
ACCESS_LABELS = {
    "active": ("Active", "ok"),
    "grace": ("Grace", "warn"),
    "read_only": ("Read-only", "bad"),
    "none": ("No paid subscription", "idle"),
}


# Statuses of a subscription, as the provider names them.
SUBSCRIPTION_TONES = {"active": "ok", "trialing": "ok", "past_due": "warn", "unpaid": "bad", "paused": "warn"}
BILLING_FIELD_LABELS = {
    "balance": "Balance",
    "method": "Payment method",
    "status": "Access",
    "word": "Status in Stripe",
}
ISO_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
MAX_VALUE_LENGTH = 160  # characters of one side of a change


def subscription_badge(status: str) -> tuple[str, str]:
    return status.replace("_", " ").capitalize(), SUBSCRIPTION_TONES.get(status, "idle")


def invoice_badge(status: str) -> tuple[str, str]:
    return INVOICE_STATUS_LABELS.get(status, (status.capitalize(), "idle"))


def access_badge(status: str) -> tuple[str, str]:
    return ACCESS_LABELS.get(status, (status or "Unknown", "idle"))


def format_seconds(value: float) -> str:
    """As in "0.4 s", "12 s", "3 min", "2 h"."""
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7_200 else f"{value / 3_600:.0f} h"


def describe_cancellation(feedback: str) -> str:
    """A customer's answer to why they cancel; answers that we don't know as the provider names them."""
    return CANCELLATION_REASONS.get(feedback, feedback.replace("_", " ").capitalize())


def list_billing_changes(previous: Mapping[str, Any], following: Mapping[str, Any]) -> list[Change]:
    """Changed fields of a billing event."""
    names = dict.fromkeys([*previous, *following])
    return [
        Change(
            BILLING_FIELD_LABELS.get(name, name),
            _format_value(previous.get(name)),
            _format_value(following.get(name)),
        )
        for name in names
        if (previous.get(name) or None) != (following.get(name) or None)
    ]


def list_differences(recorded: Sequence[Mapping[str, Any]]) -> list[Change]:
    """Differences that reconciliation found: ours before, the provider's after."""
    return [
        Change(
            str(difference["what"]), _format_value(difference["ours"]), _format_value(difference["theirs"])
        )
        for difference in recorded
    ]


def describe_tax(tax: int, included_tax: int, currency: str) -> str:
    """As in "€1.90 tax" and "incl. €1.90 tax"; "" without tax."""
    if not tax:
        return ""
    return f"{'incl. ' if included_tax == tax else ''}{format_amount(tax, currency)} tax"


def format_amount(value: int, currency: str) -> str:
    return money.format_amount(value, currency) if currency else f"{value:,}"


def describe_usage_problem(problem: str, count: int) -> str:
    """Why usage isn't billed, as in `BillingUsage.problem`."""
    records = plural(count, "record")
    texts = {
        "doubtful": f"{records} sent more than 23 hours ago without an answer. See in Stripe whether it was counted.",
        "ended": f"{records} from before the last invoice. A new subscription would bill it; otherwise send an invoice.",
        "refused": f"{records} refused by Stripe. It is sent again for 23 hours. The worker’s log has Stripe’s answer (usage_refused).",
    }
    return texts.get(problem, records)


def iso_or_empty(at: datetime | None) -> str:
    return at.isoformat() if at else ""


def _format_value(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and ISO_DATETIME.fullmatch(value):
        return f"{datetime.fromisoformat(value).astimezone(UTC):%-d %b %Y, %H:%M} UTC"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}…"


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
SECURITY_EVENT_LABELS = {  # kind: title, explanation
    "cross_tenant_attempt": (
        "Cross-tenant attempts",
        "A signed-in user requested another organisation. Answered as not found.",
    ),
    "tenant_conflict": (
        "Conflicting organisations",
        "A request named two organisations, by its host and by its key, token or session. It was refused.",
    ),
    "missing_tenant_context": (
        "Missing tenant context",
        "Blocked queries without a tenant (should be 0).",
    ),
    "code_guessed": ("Wrong codes", "Too many wrong second-factor codes. The sign-in was cancelled."),
    "foreign_origin": (
        "Foreign origin",
        "Another website tried to connect with one of our sessions.",
    ),
    "job_forged": (
        "Forged jobs",
        "A job without our signature was in the queue. It didn’t run; see Jobs for its error.",
    ),
    "session_forged": (
        "Forged sessions",
        "A session that we didn’t make was in the database. It was refused.",
    ),
    "foreign_token": ("Foreign token", "A connection used the tab token of another session."),
}
REFUSAL_LABELS = {  # reason: short text
    "billing_none": "no paid subscription",
    "billing_read_only": "a payment is overdue",
    "flag_off": "not enabled yet",
    "limit_reached": "limit reached",
    "not_in_plan": "not in the plan",
    "tenant_deleted": "deleted",
    "tenant_suspended": "suspended",
    "tenant_unverified": "not verified",
    "trial_ended": "trial ended",
}


def flag_badge(flag: FlagSummary) -> tuple[str, str]:
    """Label and tone of the badge for the state of a flag."""
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


OPERATOR_AUDIT_TEXTS: dict[OperatorAuditAction, AuditText] = {
    OperatorAuditAction.ACTION_ATTEMPTED: with_name("tried to"),
    OperatorAuditAction.ADDON_CREATED: with_name("created the add-on"),
    OperatorAuditAction.ALERTS_SUBSCRIBED: AuditText("asked for mail about alerts"),
    OperatorAuditAction.ALERTS_UNSUBSCRIBED: AuditText("turned off mail about alerts"),
    OperatorAuditAction.APPROVAL_APPROVED: with_name("approved the request about"),
    OperatorAuditAction.APPROVAL_DECLINED: with_name("declined the request about"),
    OperatorAuditAction.APPROVAL_REQUESTED: with_name("asked for approval of a change to"),
    OperatorAuditAction.APPROVAL_WITHDRAWN: with_name("withdrew the request about"),
    OperatorAuditAction.BILLING_RECONCILE_ASKED: AuditText("compared every customer with Stripe"),
    OperatorAuditAction.DRAFT_DISCARDED: with_name("discarded the draft of"),
    OperatorAuditAction.DRAFT_OPENED: with_name("opened a draft of"),
    OperatorAuditAction.DRAFT_PUBLISHED: with_name("published a version of"),
    OperatorAuditAction.DRAFT_SAVED: with_name("changed the draft of"),
    OperatorAuditAction.FACTOR_CODES_RENEWED: AuditText("created new recovery codes"),
    OperatorAuditAction.FACTOR_ENROLLED: AuditText("enrolled a second factor"),
    OperatorAuditAction.FACTOR_RECOVERY_CODE_USED: AuditText("used a recovery code"),
    OperatorAuditAction.FLAG_CLEANUP_MOVED: with_name("changed the removal date of the flag"),
    OperatorAuditAction.FLAG_CREATED: with_name("created the flag"),
    OperatorAuditAction.FLAG_KILLED: with_name("killed the flag"),
    OperatorAuditAction.FLAG_RETIRED: with_name("retired the flag"),
    OperatorAuditAction.FLAG_REVIVED: with_name("revived the flag"),
    OperatorAuditAction.FLAG_RULES_CHANGED: with_name("changed the rules of the flag"),
    OperatorAuditAction.JOB_DROPPED: with_name("dropped the job"),
    OperatorAuditAction.JOB_RETRIED: with_name("retried the job"),
    OperatorAuditAction.KEYS_ROTATED: AuditText("rotated the keys of tenants"),
    OperatorAuditAction.MAIL_SUPPRESSION_LIFTED: AuditText("allowed mail to an address again"),
    OperatorAuditAction.OPERATOR_ACCESS_RESET: with_name("reset the access of the operator"),
    OperatorAuditAction.OPERATOR_CREATED: with_name("created the operator"),
    OperatorAuditAction.OPERATOR_DISABLED: with_name("disabled the operator"),
    OperatorAuditAction.OPERATOR_ENABLED: with_name("enabled the operator"),
    OperatorAuditAction.OPERATOR_KEY_CREATED: with_name("created the operator’s API key"),
    OperatorAuditAction.OPERATOR_KEY_REVOKED: with_name("revoked the operator’s API key"),
    OperatorAuditAction.OPERATOR_KEY_ROTATED: with_name("rotated the operator’s API key"),
    OperatorAuditAction.OPERATOR_RENAMED: AuditText("changed their name"),
    OperatorAuditAction.OPERATOR_ROLE_CHANGED: with_name("changed the role of the operator"),
    OperatorAuditAction.PASSWORD_CHANGED: AuditText("changed their password"),
    OperatorAuditAction.PLAN_CREATED: with_name("created the plan"),
    OperatorAuditAction.PLAN_RETIRED: with_name("retired"),
    OperatorAuditAction.PRICES_COMPARED: AuditText("compared the prices with Stripe"),
    OperatorAuditAction.PRICES_PUSHED: AuditText("pushed the prices to Stripe"),
    OperatorAuditAction.PRICE_SET: with_name("set a price of"),
    OperatorAuditAction.PROVIDER_ACCOUNT_ADDED: with_name("added the payment account"),
    OperatorAuditAction.PROVIDER_ACCOUNT_SECRETS_CHANGED: with_name(
        "changed the secrets of the payment account"
    ),
    OperatorAuditAction.PROVIDER_ACCOUNT_UNPAUSED: with_name("resumed the payment account"),
    OperatorAuditAction.SESSION_ENDED: AuditText("signed out"),
    OperatorAuditAction.SESSION_FAILED: AuditText("had a failed sign-in"),
    OperatorAuditAction.SESSION_STARTED: AuditText("signed in"),
    OperatorAuditAction.TENANTS_READ_ACROSS: AuditText("read across tenants"),
    OperatorAuditAction.TENANT_CREATED: with_name("created the organisation"),
    OperatorAuditAction.USER_DISABLED: with_name("disabled the account of"),
    OperatorAuditAction.USER_ENABLED: with_name("enabled the account of"),
    OperatorAuditAction.USER_FACTOR_RESET_DECLINED: with_name("declined the reset of the second factor of"),
    OperatorAuditAction.USER_FACTOR_RESET_STARTED: with_name("started the reset of the second factor of"),
    OperatorAuditAction.WEBHOOKS_REPLAYED: AuditText("replayed dead webhooks"),
    OperatorAuditAction.WEBHOOK_REPLAYED: with_name("replayed the webhook"),
}
