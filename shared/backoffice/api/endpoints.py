"""All endpoints of operators, for the manifest."""

from shared.backoffice.api import catalog, entitlements, flags, me, tenants

ENDPOINTS = [
    *me.ENDPOINTS,
    *tenants.ENDPOINTS,
    *entitlements.ENDPOINTS,
    *catalog.ENDPOINTS,
    *flags.ENDPOINTS,
]
