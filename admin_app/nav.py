"""Where operators can go. What a role may not know of is not shown; gate and services decide."""

from admin_app.shell import may
from shared.access import actions
from shared.ui.shell import Link

NAV = {
    "": [
        Link("Overview", "/", "layout-dashboard", tab=True),
        Link("Tenants", "/tenants", "building-2", tab=True, shown=may(actions.OP_TENANT_LIST)),
    ],
    "Product": [
        Link("Catalog", "/catalog", "book-open", shown=may(actions.OP_CATALOG_READ)),
        Link("Prices", "/prices", "tag", shown=may(actions.OP_CATALOG_READ)),
        Link("Flags", "/flags", "flag", shown=may(actions.OP_FLAG_READ)),
    ],
    "Billing": [
        Link("Webhooks", "/webhooks", "webhook", shown=may(actions.OP_WEBHOOK_READ)),
        Link("Drift", "/drift", "git-compare-arrows", shown=may(actions.OP_BILLING_READ)),
        Link("Invoices", "/invoices", "receipt-text", shown=may(actions.OP_BILLING_READ)),
    ],
    "Running": [
        Link("Jobs", "/jobs", "list-checks", tab=True, shown=may(actions.OP_JOB_READ)),
    ],
    "Control": [
        Link("Why?", "/access", "circle-help", shown=may(actions.OP_RIGHTS_EXPLAIN)),
        Link("Audit", "/audit", "scroll-text", tab=True, shown=may(actions.OP_AUDIT_READ_ALL)),
        Link("Operators", "/operators", "shield", shown=may(actions.OP_OPERATOR_READ)),
    ],
}
