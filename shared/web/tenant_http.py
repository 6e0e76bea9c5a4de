"""The HTTP half of the tenant app. Reflex is mounted below `app`, so its pages and sockets lie behind the guard."""

from shared.web import (
    account,
    app_sites,
    exports,
    health,
    http_app,
    invitations,
    logo,
    onboarding,
    organisations,
    reset_password,
    sign_in,
    sign_up,
    stripe_webhooks,
)

app = http_app.build_app(
    app_sites.TENANT,
    *stripe_webhooks.ROUTES,  # first: they are asked for by the thousand, and each route before one costs
    *health.ROUTES,
    health.METRICS_ROUTE,
    *sign_in.ROUTES,
    *sign_up.ROUTES,
    *reset_password.ROUTES,
    *invitations.ROUTES,
    *account.ROUTES,
    *onboarding.ROUTES,
    *organisations.ROUTES,
    *logo.ROUTES,
    *exports.ROUTES,
)
