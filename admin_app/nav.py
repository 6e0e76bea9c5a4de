"""The operators' navigation. Pages without permission are hidden; gate and services enforce it."""

from admin_app.shell import is_allowed
from shared.access import actions
from shared.ui.shell import NavLink

NAV = {
    "": [
        NavLink("Overview", "/", "layout-dashboard", in_tab_bar=True),
        NavLink(
            "Tenants", "/tenants", "building-2", in_tab_bar=True, visible=is_allowed(actions.OP_TENANT_LIST)
        ),
    ],
    "Product": [
        NavLink("Usage", "/usage", "chart-column", visible=is_allowed(actions.OP_TENANT_LIST)),
        NavLink("Catalog", "/catalog", "book-open", visible=is_allowed(actions.OP_CATALOG_READ)),
        NavLink("Prices", "/prices", "tag", visible=is_allowed(actions.OP_CATALOG_READ)),
        NavLink("Flags", "/flags", "flag", visible=is_allowed(actions.OP_FLAG_READ)),
    ],
    "Billing": [
        NavLink("Webhooks", "/webhooks", "webhook", visible=is_allowed(actions.OP_WEBHOOK_READ)),
        NavLink("Drift", "/drift", "git-compare-arrows", visible=is_allowed(actions.OP_BILLING_READ)),
        NavLink("Finance", "/finance", "chart-line", visible=is_allowed(actions.OP_FINANCE_READ)),
        NavLink("Invoices", "/invoices", "receipt-text", visible=is_allowed(actions.OP_BILLING_READ)),
    ],
    "Operations": [
        NavLink("Health", "/health", "activity", visible=is_allowed(actions.OP_HEALTH_READ)),
        NavLink("Jobs", "/jobs", "list-checks", in_tab_bar=True, visible=is_allowed(actions.OP_JOB_READ)),
        NavLink("Noisy tenants", "/noisy-tenants", "gauge", visible=is_allowed(actions.OP_LOAD_READ)),
        NavLink("Mail", "/mail", "mail-x", visible=is_allowed(actions.OP_MAIL_READ)),
    ],
    "Control": [
        NavLink("Why?", "/access", "circle-help", visible=is_allowed(actions.OP_RIGHTS_EXPLAIN)),
        NavLink(
            "Audit", "/audit", "scroll-text", in_tab_bar=True, visible=is_allowed(actions.OP_AUDIT_READ_ALL)
        ),
        NavLink("Approvals", "/approvals", "user-check", visible=is_allowed(actions.OP_APPROVAL_READ)),
        NavLink("Recovery", "/recovery", "key-round", visible=is_allowed(actions.OP_USER_READ_RESETS)),
        NavLink("API keys", "/api-keys", "key", visible=is_allowed(actions.OP_API_KEY_READ)),
        NavLink("Operators", "/operators", "shield", visible=is_allowed(actions.OP_OPERATOR_READ)),
    ],
}
