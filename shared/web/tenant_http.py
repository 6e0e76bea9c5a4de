"""HTTP routes of the tenant app. Reflex is mounted inside `app`, so the guard covers its pages and sockets."""

from shared.web import (
    account,
    app_sites,
    factor_resets,
    files,
    health,
    http_app,
    invitations,
    logo,
    mail_problems,
    mail_webhooks,
    onboarding,
    organisations,
    reset_password,
    sign_in,
    sign_up,
    stripe_webhooks,
    support_sessions,
    unsubscribe,
    well_known,
)
from shared.web.rest import api

app = http_app.build_app(
    app_sites.TENANT,
    *mail_webhooks.ROUTES,
    *stripe_webhooks.ROUTES,  # first, because they are the most frequent requests and routes are matched in order
    *health.ROUTES,
    health.METRICS_ROUTE,
    *sign_in.ROUTES,
    *support_sessions.ROUTES,
    *factor_resets.ROUTES,
    *sign_up.ROUTES,
    *reset_password.ROUTES,
    *invitations.ROUTES,
    *account.ROUTES,
    *mail_problems.ROUTES,
    *onboarding.ROUTES,
    *organisations.ROUTES,
    *logo.ROUTES,
    *files.ROUTES,
    *unsubscribe.ROUTES,
    *well_known.ROUTES,
    api_routes=api.build_routes(),
)
