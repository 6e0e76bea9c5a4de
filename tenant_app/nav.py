"""The navigation of a tenant. Pages that a role can't open are hidden; gate and services decide."""

from typing import Any

from shared.access import actions
from shared.api_keys.actions import API_KEY_CREATE, API_KEY_READ
from shared.metering.actions import USAGE_READ
from shared.outbound_webhooks.actions import WEBHOOK_READ
from shared.ui.shell import NavLink
from tenant_app.shell import Shell, is_allowed, is_locked, is_visible


def page_href(page: str) -> Any:
    """A var: the address of a page in this tenant."""
    return f"/t/{Shell.slug}/{page}"


NAV = {
    "": [
        NavLink("Home", page_href("home"), "house", in_tab_bar=True),
        NavLink(
            "Notifications",
            page_href("notifications"),
            "bell",
            in_tab_bar=True,
            count=Shell.unread,
            visible=is_visible(actions.NOTIFICATION_READ),
        ),
    ],
    "Organisation": [
        NavLink(
            "Members", page_href("members"), "users", in_tab_bar=True, visible=is_allowed(actions.MEMBER_READ)
        ),
        NavLink("Roles", page_href("roles"), "shield-check", visible=is_allowed(actions.ROLE_READ)),
        NavLink(
            "API keys",
            page_href("api-keys"),
            "key-round",
            visible=is_allowed(API_KEY_READ),
            locked=is_locked(API_KEY_CREATE),
        ),
        NavLink(
            "Audit log",
            page_href("audit"),
            "scroll-text",
            visible=is_visible(actions.AUDIT_READ),
            locked=is_locked(actions.AUDIT_READ),
        ),
        NavLink(
            "Support access",
            page_href("support"),
            "life-buoy",
            visible=is_allowed(actions.SUPPORT_ACCESS_READ),
        ),
        NavLink("Why?", page_href("decisions"), "circle-help", visible=is_allowed(actions.DECISION_READ)),
        NavLink(
            "Reports",
            page_href("reports"),
            "chart-column",
            visible=is_visible(actions.REPORT_READ),
            locked=is_locked(actions.REPORT_READ),
        ),
        NavLink("Webhooks", page_href("webhooks"), "webhook", visible=is_allowed(WEBHOOK_READ)),
        NavLink("Usage", page_href("usage"), "gauge", visible=is_allowed(USAGE_READ)),
        NavLink("Billing", page_href("billing"), "credit-card", visible=is_allowed(actions.BILLING_READ)),
        NavLink("Access", page_href("access"), "badge-check", visible=is_allowed(actions.ACCESS_READ)),
        NavLink(
            "Settings",
            page_href("settings"),
            "settings-2",
            in_tab_bar=True,
            visible=is_allowed(actions.SETTINGS_READ),
        ),
    ],
}
