"""The manifest of billing: subscriptions, invoices and payments of tenants, and the prices of the platform."""

from shared.access import actions
from shared.access.permissions import Permission
from shared.audit.event_types import AuditAction, with_key
from shared.billing import events, models, notification_kinds, tasks
from shared.billing.spending.spend_limits import SPEND_SOURCE
from shared.billing.subscriptions.invoice_export import INVOICES
from shared.billing.usage_sink import BILLING_SINK
from shared.core.registry import Module, OperatorIndex, TableContract

PAYERS = ("billing",)

MODULE = Module(
    name="billing",
    models=[
        models.BillingAdjustment,
        models.BillingCustomer,
        models.BillingDispute,
        models.BillingDrift,
        models.BillingEvent,
        models.BillingFraudWarning,
        models.BillingInvoice,
        models.BillingOrder,
        models.BillingRefund,
        models.BillingSnapshot,
        models.BillingSubscription,
        models.BillingUsage,
        models.DunningNotice,
        models.InboundWebhook,
        models.PrepaidEntry,
        models.PrepaidGrant,
        models.Price,
        models.ProviderAccount,
        models.ProviderPrice,
        models.ReconcileRun,
        models.SpendLimit,
        models.RecurringRevenue,
        models.TopUp,
        models.TopUpSetting,
        models.TrialGrant,
    ],
    permissions={Permission.BILLING_READ: PAYERS, Permission.BILLING_WRITE: PAYERS},
    actions=[actions.BILLING_CHANGE, actions.BILLING_EXPORT, actions.BILLING_READ],
    surfaces={"/t/[tenant]/billing": actions.BILLING_READ},
    files=[INVOICES],
    audit={
        AuditAction.BILLING_ADJUSTED: "adjusted the balance",
        AuditAction.BILLING_ADJUSTMENT_FAILED: "marked an adjustment as failed",
        AuditAction.BILLING_CANCEL_ASKED: "cancelled the subscription",
        AuditAction.BILLING_CHANGE_ASKED: "requested a subscription change",
        AuditAction.BILLING_CHANGE_DROPPED: "kept the current plan",
        AuditAction.BILLING_CHECKOUT_STARTED: "started checkout",
        AuditAction.BILLING_CUSTOMER_CREATED: "set up billing",
        AuditAction.BILLING_DETAILS_CHANGED: "changed the billing details",
        AuditAction.BILLING_DUPLICATE_ENDED: "ended a second subscription",
        AuditAction.BILLING_DUPLICATE_KEPT: "kept the only subscription left",
        AuditAction.BILLING_EXPORTED: "exported the invoices",
        AuditAction.BILLING_ORDER_FAILED: "recorded that the payment provider refused an order",
        AuditAction.BILLING_ORDER_RETRIED: "submitted an order to the payment provider again",
        AuditAction.BILLING_PAID_BY_TRANSFER: with_key("marked as paid by transfer:"),
        AuditAction.BILLING_PAUSE_ASKED: "paused the subscription",
        AuditAction.BILLING_PORTAL_OPENED: "opened the billing portal",
        AuditAction.BILLING_PREPAID_GRANTED: "granted prepaid credits",
        AuditAction.BILLING_PREPAID_VOIDED: "voided prepaid credits",
        AuditAction.BILLING_RECONCILE_ASKED: "requested a sync with the payment provider",
        AuditAction.BILLING_RESUME_ASKED: "resumed the subscription",
        AuditAction.BILLING_TOPPED_UP: "topped up prepaid credits",
        AuditAction.BILLING_TOP_UP_CHANGED: "changed the automatic top-up",
        AuditAction.BILLING_TRANSFER_ASKED: "started a subscription paid by transfer",
        AuditAction.BILLING_TRIAL_EXTENDED: "extended the trial",
        AuditAction.BILLING_TRIAL_GRANTED: "granted another trial",
        AuditAction.BILLING_TRIAL_REFUSED: "ended a second trial",
        AuditAction.BILLING_USAGE_SETTLED: with_key("settled usage that wasn’t billed:"),
        AuditAction.BILLING_VOID_ASKED: "asked to void an overdue invoice",
        AuditAction.SPEND_LIMIT_ALERTED: "reached a share of the spend limit",
        AuditAction.SPEND_LIMIT_CHANGED: "changed the spend limit",
        AuditAction.SPEND_LIMIT_REMOVED: "removed the spend limit",
        AuditAction.SUBSCRIPTION_REPRICED: "moved the subscription to the new price",
    },
    recorded={
        actions.BILLING_CHANGE.name: (
            "billing.cancel_asked",
            "billing.change_asked",
            "billing.change_dropped",
            "billing.checkout_started",
            "billing.customer_created",
            "billing.details_changed",
            "billing.pause_asked",
            "billing.portal_opened",
            "billing.resume_asked",
            "billing.top_up_changed",
            "billing.void_asked",
            "spend_limit.changed",
            "spend_limit.removed",
        ),
        actions.BILLING_EXPORT.name: ("billing.exported",),
    },
    events=events.EVENTS,
    usage_sinks=[BILLING_SINK],
    budget_sources=[SPEND_SOURCE],
    notifications=notification_kinds.KINDS,
    tasks={**tasks.TASKS, **tasks.PLATFORM_TASKS},
    tables={
        models.BillingAdjustment: TableContract(
            export=True, retention="accounting", personal=("by_id", "by_name", "reason")
        ),
        models.BillingCustomer: TableContract(
            export=True,
            erase_after=(
                "billing_dispute",
                "billing_fraud_warning",
                "billing_invoice",
                "billing_refund",
                "billing_subscription",
            ),
            retention="accounting",
            operator_indexes=(
                OperatorIndex(
                    name="billing_customer_by_id_of_all_tenants",
                    columns=("id", "tenant_id"),
                    reason="Operators find a tenant by its customer at the provider",
                    query="backoffice.tenant_directory.search_tenants",
                ),
            ),
        ),
        models.BillingDispute: TableContract(export=True, retention="accounting"),
        models.BillingDrift: TableContract(export=False),
        models.BillingEvent: TableContract(
            export=False,
            retention="accounting",
            operator_indexes=(
                OperatorIndex(
                    name="billing_event_by_request_of_all_tenants",
                    columns=("request_id", "tenant_id"),
                    reason="Operators find the changes of a sync by its reference",
                    query="backoffice.request_search.find_request",
                ),
            ),
        ),
        models.BillingFraudWarning: TableContract(export=True, retention="accounting"),
        models.BillingInvoice: TableContract(
            export=True,
            retention="accounting",
            operator_indexes=(
                OperatorIndex(
                    name="billing_invoice_by_id_of_all_tenants",
                    columns=("id", "tenant_id"),
                    reason="Operators find a tenant by an invoice at the provider",
                    query="backoffice.tenant_directory.search_tenants",
                ),
                OperatorIndex(
                    name="billing_invoice_by_number_of_all_tenants",
                    columns=("number", "tenant_id"),
                    reason="Operators find a tenant by the number of an invoice",
                    query="backoffice.tenant_directory.search_tenants",
                ),
            ),
        ),
        models.BillingOrder: TableContract(
            export=True, retention="accounting", personal=("by_id", "by_name", "reason")
        ),
        models.BillingRefund: TableContract(export=True, retention="accounting"),
        models.BillingSnapshot: TableContract(
            export=True,
            personal=("method", "payment_methods"),
            operator_indexes=(
                OperatorIndex(
                    name="billing_snapshot_past_due_of_all_tenants",
                    columns=("status", "tenant_id"),
                    reason="Operators count and list tenants that are past due",
                    query="backoffice.tenant_directory.get_overview",
                ),
                OperatorIndex(
                    name="billing_snapshot_paying_twice_of_all_tenants",
                    columns=("changed_at", "tenant_id"),
                    reason="Operators find customers who pay twice",
                    query="backoffice.tenant_directory.get_overview",
                ),
            ),
        ),
        models.BillingSubscription: TableContract(
            export=True,
            retention="accounting",
            personal=("cancellation_comment",),
            operator_indexes=(
                OperatorIndex(
                    name="billing_subscription_by_id_of_all_tenants",
                    columns=("id", "tenant_id"),
                    reason="Operators find a tenant by a subscription at the provider",
                    query="backoffice.tenant_directory.search_tenants",
                ),
                OperatorIndex(
                    name="billing_subscription_trials_of_all_tenants",
                    columns=("status", "tenant_id"),
                    reason="Operators count and list trials that end soon",
                    query="backoffice.tenant_directory.get_overview",
                ),
                OperatorIndex(
                    name="billing_subscription_cancellations_of_all_tenants",
                    columns=("canceled_at", "tenant_id"),
                    reason="Operators count why customers cancel",
                    query="backoffice.tenant_directory.get_overview",
                ),
            ),
        ),
        models.BillingUsage: TableContract(
            export=True,
            retention="accounting",
            operator_indexes=(
                OperatorIndex(
                    name="billing_usage_problems_of_all_tenants",
                    columns=("at", "tenant_id"),
                    reason="Operators find usage that can’t be billed",
                    query="backoffice.tenant_directory.get_overview",
                ),
            ),
        ),
        models.DunningNotice: TableContract(export=False),
        models.SpendLimit: TableContract(export=True),
        models.RecurringRevenue: TableContract(
            export=False,
            retention="accounting",
            operator_indexes=(
                OperatorIndex(
                    name="recurring_revenue_of_all_tenants",
                    columns=("month", "tenant_id"),
                    reason="Operators see how recurring revenue changed from month to month",
                    query="backoffice.finance.get_report",
                ),
            ),
        ),
        models.TopUp: TableContract(export=True, retention="accounting"),
        models.TopUpSetting: TableContract(export=True),
        models.PrepaidEntry: TableContract(
            export=True, retention="accounting", personal=("by_name", "reason")
        ),
        models.PrepaidGrant: TableContract(
            export=True,
            erase_after=("prepaid_entry",),
            retention="accounting",
            personal=("by_id", "by_name", "reason"),
        ),
        models.TrialGrant: TableContract(
            export=True, retention="accounting", personal=("by_id", "by_name", "reason")
        ),
    },
)
