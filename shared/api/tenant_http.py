"""The HTTP half of the tenant app. Reflex is mounted below `app`, so its pages and sockets lie behind the guard."""

from shared.api import (
    account,
    exports,
    health,
    house,
    invitations,
    logo,
    onboarding,
    organisations,
    reset,
    sign_in,
    sign_up,
    sites,
    stripe_webhooks,
)

app = house.build(
    sites.TENANT,
    *stripe_webhooks.ROUTES,  # first: they are asked for by the thousand, and each route before one costs
    *health.ROUTES,
    health.METRICS,
    *sign_in.ROUTES,
    *sign_up.ROUTES,
    *reset.ROUTES,
    *invitations.ROUTES,
    *account.ROUTES,
    *onboarding.ROUTES,
    *organisations.ROUTES,
    *logo.ROUTES,
    *exports.ROUTES,
)
