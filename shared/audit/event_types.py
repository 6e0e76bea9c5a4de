"""Actions of the audit log, alphabetical, as `noun.verb_past`. They are stored and never renamed."""

from enum import Enum, StrEnum, auto
from typing import NamedTuple

from shared.core import registry
from shared.core.registry import Module

RESULT_KEY = "result"  # in the details of an event


class AuditResult(StrEnum):
    """How an act ended. The stored words; an event without one is about something that was done."""

    DONE = "done"
    DENIED = "denied"  # by a decision: nothing was changed
    FAILED = "failed"  # by what was asked for or by the state of things: nothing was changed


class AuditObject(Enum):
    """What is shown after the text of an event."""

    NONE = auto()
    NAME = auto()  # the name of the changed object, as the service recorded it
    KEY = auto()  # its id, which is a word
    USAGE = auto()  # its id names a meter and an hour or a month


class AuditText(NamedTuple):
    text: str  # completes "Ann …"
    object: AuditObject = AuditObject.NONE


def with_name(text: str) -> AuditText:
    """`text` with the name of the changed object after it: "removed" and "Zoe Hahn"."""
    return AuditText(text, AuditObject.NAME)


def with_key(text: str) -> AuditText:
    """`text` with the id of the changed object after it: "finished setup:" and "roles"."""
    return AuditText(text, AuditObject.KEY)


def with_usage(text: str) -> AuditText:
    """`text` with a meter and its time after it: "changed closed usage:" and "API calls, November 2026"."""
    return AuditText(text, AuditObject.USAGE)


# Every event type that a tenant's audit log can contain: the ones of all manifests.
AUDIT_TEXTS: dict[str, AuditText] = {}


@registry.each_module
def _add_texts(module: Module) -> None:
    for event_type, text in module.audit.items():
        AUDIT_TEXTS[str(event_type)] = AuditText(text) if isinstance(text, str) else text


def list_nouns() -> list[str]:
    """Of the event types, alphabetical: "membership" of "membership.created". One without a verb has none."""
    return sorted({event_type.partition(".")[0] for event_type in AUDIT_TEXTS if "." in event_type})


class AuditAction(StrEnum):
    ACTION_ATTEMPTED = "action.attempted"
    ADDON_ADDED = "addon.added"
    ADDON_ENDED = "addon.ended"
    API_KEY_CHANGED = "api_key.changed"
    API_KEY_CREATED = "api_key.created"
    API_KEY_REVOKED = "api_key.revoked"
    API_KEY_ROTATED = "api_key.rotated"
    AUDIT_EXPORTED = "audit.exported"
    AUDIT_STREAM_CREATED = "audit_stream.created"
    AUDIT_STREAM_DELETED = "audit_stream.deleted"
    AUDIT_STREAM_PAUSED = "audit_stream.paused"
    AUDIT_STREAM_RESUMED = "audit_stream.resumed"
    AUDIT_STREAM_TESTED = "audit_stream.tested"
    BILLING_ADJUSTED = "billing.adjusted"
    BILLING_ADJUSTMENT_FAILED = "billing.adjustment_failed"
    BILLING_CANCEL_ASKED = "billing.cancel_asked"
    BILLING_CHANGE_ASKED = "billing.change_asked"
    BILLING_CHANGE_DROPPED = "billing.change_dropped"
    BILLING_CHECKOUT_STARTED = "billing.checkout_started"
    BILLING_CUSTOMER_CREATED = "billing.customer_created"
    BILLING_DETAILS_CHANGED = "billing.details_changed"
    BILLING_DUPLICATE_ENDED = "billing.duplicate_ended"
    BILLING_DUPLICATE_KEPT = "billing.duplicate_kept"
    BILLING_EXPORTED = "billing.exported"
    BILLING_ORDER_FAILED = "billing.order_failed"
    BILLING_ORDER_RETRIED = "billing.order_retried"
    BILLING_PAID_BY_TRANSFER = "billing.paid_by_transfer"
    BILLING_PAUSE_ASKED = "billing.pause_asked"
    BILLING_PORTAL_OPENED = "billing.portal_opened"
    BILLING_PREPAID_GRANTED = "billing.prepaid_granted"
    BILLING_PREPAID_VOIDED = "billing.prepaid_voided"
    BILLING_RECONCILE_ASKED = "billing.reconcile_asked"
    BILLING_RESUME_ASKED = "billing.resume_asked"
    BILLING_STATUS_CHANGED = "billing.status_changed"
    BILLING_TOP_UP_CHANGED = "billing.top_up_changed"
    BILLING_TOPPED_UP = "billing.topped_up"
    BILLING_TRANSFER_ASKED = "billing.transfer_asked"
    BILLING_TRIAL_EXTENDED = "billing.trial_extended"
    BILLING_TRIAL_GRANTED = "billing.trial_granted"
    BILLING_TRIAL_REFUSED = "billing.trial_refused"
    BILLING_USAGE_SETTLED = "billing.usage_settled"
    BILLING_VOID_ASKED = "billing.void_asked"
    CHECKLIST_COMPLETED = "checklist.completed"
    FACTOR_CODES_RENEWED = "factor.codes_renewed"
    FACTOR_DISABLED = "factor.disabled"
    FACTOR_ENROLLED = "factor.enrolled"
    FACTOR_RECOVERY_CODE_USED = "factor.recovery_code_used"
    FACTOR_RESET = "factor.reset"
    FACTOR_RESET_CANCELLED = "factor.reset_cancelled"
    FACTOR_RESET_DECLINED = "factor.reset_declined"
    FACTOR_RESET_REQUESTED = "factor.reset_requested"
    FACTOR_RESET_STARTED = "factor.reset_started"
    FILE_DELETED = "file.deleted"
    FILE_UPLOADED = "file.uploaded"
    FLAG_SET = "flag.set"
    IMPERSONATION_APPROVED = "impersonation.approved"
    IMPERSONATION_CONSENT_SET = "impersonation.consent_set"
    IMPERSONATION_DECLINED = "impersonation.declined"
    IMPERSONATION_ENDED = "impersonation.ended"
    IMPERSONATION_REQUESTED = "impersonation.requested"
    IMPERSONATION_STARTED = "impersonation.started"
    INVITATION_ACCEPTED = "invitation.accepted"
    INVITATION_CREATED = "invitation.created"
    INVITATION_RESENT = "invitation.resent"
    INVITATION_REVOKED = "invitation.revoked"
    JWT_ISSUER_CHANGED = "jwt_issuer.changed"
    JWT_ISSUER_CREATED = "jwt_issuer.created"
    JWT_ISSUER_DELETED = "jwt_issuer.deleted"
    MEMBER_EXPORTED = "member.exported"
    MEMBERSHIP_CREATED = "membership.created"
    MEMBERSHIP_DEACTIVATED = "membership.deactivated"
    MEMBERSHIP_LEFT = "membership.left"
    MEMBERSHIP_REACTIVATED = "membership.reactivated"
    MEMBERSHIP_REMOVED = "membership.removed"
    MEMBERSHIP_ROLE_CHANGED = "membership.role_changed"
    OPERATOR_ATTEMPTED = "operator.attempted"
    OPERATOR_LOOKED = "operator.looked"
    OVERRIDE_ENDED = "override.ended"
    OVERRIDE_SET = "override.set"
    OWNERSHIP_TRANSFERRED = "ownership.transferred"
    PASSWORD_CHANGED = "password.changed"
    PLAN_ASSIGNED = "plan.assigned"
    PROVISIONING_RESUMED = "provisioning.resumed"
    PROVISIONING_STEP_DONE = "provisioning.step_done"
    PROVISIONING_STEP_FAILED = "provisioning.step_failed"
    REQUEST_REFUSED = "request.refused"
    ROLE_CHANGED = "role.changed"
    ROLE_CREATED = "role.created"
    ROLE_DELETED = "role.deleted"
    SERVICE_ACCOUNT_CHANGED = "service_account.changed"
    SERVICE_ACCOUNT_CREATED = "service_account.created"
    SERVICE_ACCOUNT_ENDED = "service_account.ended"
    SESSION_ENDED = "session.ended"
    SESSION_FAILED = "session.failed"
    SESSION_STARTED = "session.started"
    SPEND_LIMIT_ALERTED = "spend_limit.alerted"
    SPEND_LIMIT_CHANGED = "spend_limit.changed"
    SPEND_LIMIT_REMOVED = "spend_limit.removed"
    SUBSCRIPTION_REPRICED = "subscription.repriced"
    TENANT_BRANDED = "tenant.branded"
    TENANT_CREATED = "tenant.created"
    TENANT_DELETED = "tenant.deleted"
    TENANT_DELETION_CANCELED = "tenant.deletion_canceled"
    TENANT_DELETION_HELD = "tenant.deletion_held"
    TENANT_DELETION_SCHEDULED = "tenant.deletion_scheduled"
    TENANT_EXPORT_DOWNLOADED = "tenant.export_downloaded"
    TENANT_EXPORTED = "tenant.exported"
    TENANT_LOGO_CHANGED = "tenant.logo_changed"
    TENANT_LOGO_REMOVED = "tenant.logo_removed"
    TENANT_RENAMED = "tenant.renamed"
    TENANT_RESTORED = "tenant.restored"
    TENANT_SLUG_CHANGED = "tenant.slug_changed"
    TENANT_SUSPENDED = "tenant.suspended"
    TENANT_THROTTLE_ENDED = "tenant.throttle_ended"
    TENANT_THROTTLED = "tenant.throttled"
    TENANT_VERIFIED = "tenant.verified"
    TEST_DATA_DELETED = "test_data.deleted"
    TEST_MODE_TURNED_ON = "test_mode.turned_on"
    TRAIT_SET = "trait.set"
    USAGE_CHANGED = "usage.changed"
    USAGE_CHECK_ASKED = "usage.check_asked"
    USAGE_CORRECTION_ASKED = "usage.correction_asked"
    USAGE_CORRECTION_CLOSED = "usage.correction_closed"
    USAGE_CORRECTION_OPENED = "usage.correction_opened"
    USAGE_CORRECTION_REVERTED = "usage.correction_reverted"
    USAGE_EXPORTED = "usage.exported"
    USAGE_RECOMPUTE_ASKED = "usage.recompute_asked"
    USAGE_RECOMPUTED = "usage.recomputed"
    USAGE_LIMIT_WARNING = "usage_limit_warning"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_DELETED = "webhook.deleted"
    WEBHOOK_PAUSED = "webhook.paused"
    WEBHOOK_REPLAYED = "webhook.replayed"
    WEBHOOK_RESUMED = "webhook.resumed"
    WEBHOOK_SECRET_ROTATED = "webhook.secret_rotated"
    WEBHOOK_TESTED = "webhook.tested"


# What people do with their own accounts. It is recorded in each of their organisations, and is no work in any of them.
ACCOUNT_ACTIONS = frozenset(
    {
        AuditAction.FACTOR_CODES_RENEWED,
        AuditAction.FACTOR_DISABLED,
        AuditAction.FACTOR_ENROLLED,
        AuditAction.FACTOR_RECOVERY_CODE_USED,
        AuditAction.FACTOR_RESET,
        AuditAction.FACTOR_RESET_CANCELLED,
        AuditAction.FACTOR_RESET_DECLINED,
        AuditAction.FACTOR_RESET_REQUESTED,
        AuditAction.FACTOR_RESET_STARTED,
        AuditAction.PASSWORD_CHANGED,
        AuditAction.SESSION_ENDED,
        AuditAction.SESSION_FAILED,
        AuditAction.SESSION_STARTED,
    }
)
REASON_REQUIRED = frozenset(
    {
        AuditAction.BILLING_ADJUSTED,
        AuditAction.BILLING_PREPAID_GRANTED,
        AuditAction.BILLING_PREPAID_VOIDED,
        AuditAction.BILLING_RECONCILE_ASKED,
        AuditAction.OPERATOR_LOOKED,
        AuditAction.OVERRIDE_ENDED,
        AuditAction.OVERRIDE_SET,
        AuditAction.PROVISIONING_RESUMED,
        AuditAction.TENANT_DELETED,
        AuditAction.TENANT_DELETION_SCHEDULED,
        AuditAction.TENANT_RESTORED,
        AuditAction.TENANT_SUSPENDED,
        AuditAction.TENANT_THROTTLED,
        AuditAction.TENANT_THROTTLE_ENDED,
        AuditAction.USAGE_CHECK_ASKED,
        AuditAction.USAGE_CORRECTION_ASKED,
        AuditAction.USAGE_RECOMPUTE_ASKED,
    }
)


class OperatorAuditAction(StrEnum):
    """Actions of operators outside of tenants."""

    ACTION_ATTEMPTED = "action.attempted"
    ADDON_CREATED = "addon.created"
    ALERTS_SUBSCRIBED = "alerts.subscribed"
    ALERTS_UNSUBSCRIBED = "alerts.unsubscribed"
    APPROVAL_APPROVED = "approval.approved"
    APPROVAL_DECLINED = "approval.declined"
    APPROVAL_REQUESTED = "approval.requested"
    APPROVAL_WITHDRAWN = "approval.withdrawn"
    BILLING_RECONCILE_ASKED = "billing.reconcile_asked"
    DRAFT_DISCARDED = "draft.discarded"
    DRAFT_OPENED = "draft.opened"
    DRAFT_PUBLISHED = "draft.published"
    DRAFT_SAVED = "draft.saved"
    FACTOR_CODES_RENEWED = "factor.codes_renewed"
    FACTOR_ENROLLED = "factor.enrolled"
    FACTOR_RECOVERY_CODE_USED = "factor.recovery_code_used"
    FLAG_CLEANUP_MOVED = "flag.cleanup_moved"
    FLAG_CREATED = "flag.created"
    FLAG_KILLED = "flag.killed"
    FLAG_RETIRED = "flag.retired"
    FLAG_REVIVED = "flag.revived"
    FLAG_RULES_CHANGED = "flag.rules_changed"
    JOB_DROPPED = "job.dropped"
    JOB_RETRIED = "job.retried"
    KEYS_ROTATED = "keys.rotated"
    MAIL_SUPPRESSION_LIFTED = "mail.suppression_lifted"
    OPERATOR_ACCESS_RESET = "operator.access_reset"
    OPERATOR_CREATED = "operator.created"
    OPERATOR_DISABLED = "operator.disabled"
    OPERATOR_ENABLED = "operator.enabled"
    OPERATOR_RENAMED = "operator.renamed"
    OPERATOR_ROLE_CHANGED = "operator.role_changed"
    OPERATOR_KEY_CREATED = "operator_key.created"
    OPERATOR_KEY_REVOKED = "operator_key.revoked"
    OPERATOR_KEY_ROTATED = "operator_key.rotated"
    PASSWORD_CHANGED = "password.changed"
    PLAN_CREATED = "plan.created"
    PLAN_RETIRED = "plan.retired"
    PRICE_SET = "price.set"
    PRICES_COMPARED = "prices.compared"
    PRICES_PUSHED = "prices.pushed"
    PROVIDER_ACCOUNT_ADDED = "provider_account.added"
    PROVIDER_ACCOUNT_SECRETS_CHANGED = "provider_account.secrets_changed"
    PROVIDER_ACCOUNT_UNPAUSED = "provider_account.unpaused"
    SESSION_ENDED = "session.ended"
    SESSION_FAILED = "session.failed"
    SESSION_STARTED = "session.started"
    TENANT_CREATED = "tenant.created"
    TENANTS_READ_ACROSS = "tenants.read_across"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    USER_FACTOR_RESET_DECLINED = "user.factor_reset_declined"
    USER_FACTOR_RESET_STARTED = "user.factor_reset_started"
    WEBHOOK_REPLAYED = "webhook.replayed"
    WEBHOOKS_REPLAYED = "webhooks.replayed"
