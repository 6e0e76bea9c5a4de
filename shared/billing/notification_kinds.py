"""The kinds of notifications about payments."""

from shared.access.permissions import Permission
from shared.billing import dunning, reminders
from shared.billing.spending.spend_limits import ALERT_PERCENTS
from shared.core.notification_kinds import NotificationKind
from shared.tenancy.mail_preferences import PAYMENTS, REMINDERS

PAYMENT_MESSAGES = (
    *dunning.UNPAID_KINDS,
    dunning.FIRST_PAYMENT_OPEN,
    dunning.PAYMENT_RECOVERED,
    dunning.SUBSCRIPTION_ENDED,
    dunning.SUBSCRIPTION_ENDS,
    dunning.SUBSCRIPTION_PAUSED,
    dunning.SUBSCRIPTION_RESUMED,
    dunning.TOP_UP_FAILED,
    dunning.TRIAL_EXTENDED,
    dunning.TRIAL_REFUSED,
    *(f"spend_alert_{percent}" for percent in ALERT_PERCENTS),
    reminders.TRIAL_ENDED,
    reminders.TRIAL_ENDS,
)
KINDS = (
    NotificationKind(
        key=PAYMENTS,
        title="Payments",
        description="When a payment fails or arrives, and when a trial or a subscription ends.",
        permission=Permission.BILLING_WRITE,
        events=tuple(f"{dunning.KIND_PREFIX}{message}" for message in PAYMENT_MESSAGES),
        templates=("billing",),
        owners_always=True,
    ),
    NotificationKind(
        key=REMINDERS,
        title="Renewals and expiring cards",
        description="Before a subscription renews, and before its card expires.",
        permission=Permission.BILLING_WRITE,
        events=tuple(f"{dunning.KIND_PREFIX}{message}" for message in dunning.OPTIONAL_KINDS),
        templates=("billing",),
    ),
)
