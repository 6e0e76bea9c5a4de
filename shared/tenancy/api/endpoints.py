"""All endpoints of tenancy, for its manifest."""

from shared.tenancy.api import (
    audit_events,
    decisions,
    entitlements,
    invitations,
    me,
    members,
    notifications,
    roles,
    service_accounts,
    settings,
)

ENDPOINTS = [
    *me.ENDPOINTS,
    *members.ENDPOINTS,
    *invitations.ENDPOINTS,
    *roles.ENDPOINTS,
    *service_accounts.ENDPOINTS,
    *audit_events.ENDPOINTS,
    *settings.ENDPOINTS,
    *notifications.ENDPOINTS,
    *entitlements.ENDPOINTS,
    *decisions.ENDPOINTS,
]
