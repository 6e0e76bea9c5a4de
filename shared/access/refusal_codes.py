"""Why something is allowed or not: the closed list. Words for people are in `access.policy`."""

from enum import StrEnum


class Reason(StrEnum):
    ALLOWED = "allowed"
    BILLING_GRACE = "billing_grace"  # allowed, for now
    BILLING_NONE = "billing_none"
    BILLING_READ_ONLY = "billing_read_only"
    FLAG_OFF = "flag_off"
    LIMIT_REACHED = "limit_reached"
    LIMIT_WARNED = "limit_warned"  # allowed, above a soft limit
    MISSING_PERMISSION = "missing_permission"
    MISSING_SCOPE = "missing_scope"  # of an API key whose holder has the permission
    NOT_IN_PLAN = "not_in_plan"
    OBJECT_STATE = "object_state"
    SUPPORT_CLOSED = "support_closed"  # to an operator who acts for a member
    SUPPORT_READ_ONLY = "support_read_only"  # of an operator who acts for a member
    TENANT_DELETED = "tenant_deleted"
    TENANT_SUSPENDED = "tenant_suspended"
    TENANT_UNVERIFIED = "tenant_unverified"
    TEST_MODE = "test_mode"  # of a test tenant: only its live tenant has this
    TRIAL_ENDED = "trial_ended"


# The layer that decided, as a trace names it (`entitlements.evaluate.Layer`). What is simply allowed was decided by none.
LAYER_BY_REASON = {
    Reason.ALLOWED: "",
    Reason.BILLING_GRACE: "billing",
    Reason.BILLING_NONE: "billing",
    Reason.BILLING_READ_ONLY: "billing",
    Reason.FLAG_OFF: "flag",
    Reason.LIMIT_REACHED: "limit",
    Reason.LIMIT_WARNED: "limit",
    Reason.MISSING_PERMISSION: "permission",
    Reason.MISSING_SCOPE: "permission",
    Reason.NOT_IN_PLAN: "plan",
    Reason.OBJECT_STATE: "object",
    Reason.SUPPORT_CLOSED: "permission",
    Reason.SUPPORT_READ_ONLY: "permission",
    Reason.TENANT_DELETED: "tenant",
    Reason.TENANT_SUSPENDED: "tenant",
    Reason.TENANT_UNVERIFIED: "tenant",
    Reason.TEST_MODE: "tenant",
    Reason.TRIAL_ENDED: "trial",
}
# A page that is refused for one of these says what one would get.
PAYABLE_REASONS = frozenset({Reason.BILLING_NONE, Reason.NOT_IN_PLAN, Reason.TRIAL_ENDED})
ALLOWED_REASONS = frozenset({Reason.ALLOWED, Reason.BILLING_GRACE, Reason.LIMIT_WARNED})
