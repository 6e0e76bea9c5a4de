"""The list of alerts. Each has a runbook of its own name in `docs/runbooks`."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.backoffice.alerts import conditions
from shared.backoffice.alerts.conditions import Facts, Finding

Check = Callable[[Facts], Awaitable[Sequence[Finding]]]


class Severity(StrEnum):
    """The stored words, as `metric_catalog` lists them."""

    PAGE = "page"  # somebody has to look now
    TICKET = "ticket"  # within the day


class SubjectKind(StrEnum):
    PLATFORM = ""
    TENANT = "tenant"
    PLAN = "plan"
    FLAG = "flag"
    OTHER = "other"  # a word that says itself what it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    name: str
    title: str
    owner: str  # the team that looks
    severity: Severity
    condition: str  # completes "Fires when …"
    subject: SubjectKind
    check: Check


def _list_alerts() -> Sequence[Alert]:
    page, ticket = Severity.PAGE, Severity.TICKET
    rows: Sequence[tuple[str, str, str, Severity, SubjectKind, Check, str]] = (
        (
            *("error_rate", "Requests fail", "platform", page, SubjectKind.PLATFORM),
            conditions.check_error_rate,
            "5 % of all requests, events and jobs of 5 minutes end in an unexpected error, and at least 5 of them do",
        ),
        (
            *("latency", "Requests are slow", "platform", page, SubjectKind.PLATFORM),
            conditions.check_latency,
            "95 % of the requests of 5 minutes take longer than 2.5 seconds",
        ),
        (
            *("tenant_errors", "One tenant fails", "platform", page, SubjectKind.TENANT),
            conditions.check_tenant_errors,
            "20 % of a tenant’s requests of 5 minutes fail, three times the share of all others",
        ),
        (
            *("plan_errors", "One plan fails", "platform", page, SubjectKind.PLAN),
            conditions.check_plan_errors,
            "5 % of the requests of a plan’s tenants fail, three times the share of all others",
        ),
        (
            *("flag_errors", "The cohort of a flag fails", "platform", page, SubjectKind.FLAG),
            conditions.check_flag_errors,
            "5 % of the requests of tenants with a flag fail, three times the share of all others",
        ),
        (
            *("limits", "A tenant meets its limits", "customers", ticket, SubjectKind.TENANT),
            conditions.check_limits,
            "a decision of the last 5 minutes met a limit of the tenant’s plan",
        ),
        (
            *("failed_jobs", "Jobs are out of retries", "platform", ticket, SubjectKind.OTHER),
            conditions.check_failed_jobs,
            "a lane has a job that failed and is not tried again",
        ),
        (
            *("late_jobs", "Jobs wait", "platform", page, SubjectKind.OTHER),
            conditions.check_late_jobs,
            "a due job of a lane has waited for 5 minutes",
        ),
        (
            *("workers", "No worker runs", "platform", page, SubjectKind.PLATFORM),
            conditions.check_workers,
            "no worker has shown a sign of life for a minute, or jobs have waited for one and none is registered",
        ),
        (
            *("late_webhooks", "Payment webhooks wait", "billing", page, SubjectKind.PLATFORM),
            conditions.check_late_webhooks,
            "a webhook of the payment provider has been due for 5 minutes",
        ),
        (
            *("dead_webhooks", "Payment webhooks failed", "billing", ticket, SubjectKind.OTHER),
            conditions.check_dead_webhooks,
            "a webhook of the payment provider is out of retries",
        ),
        (
            *("payment_accounts", "A payment account has a problem", "billing", page, SubjectKind.OTHER),
            conditions.check_accounts,
            "an account is paused or silent, its prices differ, or signatures don’t match its secret",
        ),
        (
            *("late_deliveries", "Deliveries to customers wait", "platform", ticket, SubjectKind.TENANT),
            conditions.check_late_deliveries,
            "a public event or an endpoint’s turn has waited for 5 minutes",
        ),
        (
            *("paused_endpoints", "Endpoints take nothing", "customers", ticket, SubjectKind.TENANT),
            conditions.check_paused_endpoints,
            "we paused a tenant’s endpoint, because it accepted nothing for a day or is gone",
        ),
        (
            *("provisioning", "Provisioning failed", "platform", ticket, SubjectKind.TENANT),
            conditions.check_provisioning,
            "a step of a tenant’s provisioning failed",
        ),
        (
            *("double_payments", "A customer pays twice", "billing", ticket, SubjectKind.TENANT),
            conditions.check_double_payments,
            "a tenant is charged for more than one subscription",
        ),
        (
            *("unbilled_usage", "Usage isn’t billed", "billing", ticket, SubjectKind.TENANT),
            conditions.check_unbilled_usage,
            "recorded usage of a tenant can’t be billed",
        ),
        (
            *("billing_review", "Billing needs a review", "billing", ticket, SubjectKind.TENANT),
            conditions.check_billing,
            "a sync found a dispute, a failed refund or another difference that needs a person",
        ),
        (
            *("audit_logs", "An audit log is broken", "security", page, SubjectKind.TENANT),
            conditions.check_audit_logs,
            "the verification of a tenant’s audit log found a broken chain",
        ),
        (
            *("isolation", "A statement had no tenant", "security", page, SubjectKind.PLATFORM),
            conditions.check_isolation,
            "a database statement of the last hour asked for tenants’ rows without a tenant",
        ),
        (
            *("attempts", "Many refused attempts", "security", page, SubjectKind.OTHER),
            conditions.check_attempts,
            "20 attempts of one kind that normal use never makes were refused in an hour",
        ),
    )
    return [
        Alert(
            name=name,
            title=title,
            owner=owner,
            severity=severity,
            condition=condition,
            subject=subject,
            check=check,
        )
        for name, title, owner, severity, subject, check, condition in rows
    ]


ALERTS = {alert.name: alert for alert in _list_alerts()}
