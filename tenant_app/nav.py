"""Where one can go in a tenant. What a role may not know of is not shown; gate and services decide."""

from typing import Any

from shared.access import actions
from shared.ui.shell import Link
from tenant_app.shell import Shell, may, unpaid, within


def href(page: str) -> Any:
    """An address inside this tenant, whose slug the page's load has brought."""
    return f"/t/{Shell.slug}/{page}"


NAV = {
    "": [
        Link("Home", href("home"), "house", tab=True),
        Link("Notifications", href("notifications"), "bell", tab=True, count=Shell.unread),
    ],
    "Workspace": [
        Link("Members", href("members"), "users", tab=True, shown=may(actions.MEMBER_READ)),
        Link("Roles", href("roles"), "shield-check", shown=may(actions.ROLE_READ)),
        Link(
            "Audit",
            href("audit"),
            "scroll-text",
            shown=within(actions.AUDIT_READ),
            locked=unpaid(actions.AUDIT_READ),
        ),
        Link(
            "Reports",
            href("reports"),
            "chart-column",
            shown=within(actions.REPORT_READ),
            locked=unpaid(actions.REPORT_READ),
        ),
        Link("Billing", href("billing"), "credit-card", shown=may(actions.BILLING_READ)),
        Link("Access", href("access"), "badge-check", shown=may(actions.ACCESS_READ)),
        Link("Settings", href("settings"), "settings-2", tab=True, shown=may(actions.SETTINGS_READ)),
    ],
}
