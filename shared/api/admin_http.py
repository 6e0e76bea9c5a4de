"""The HTTP half of the admin app: its own realm, its own doors, nothing of the tenants'."""

from shared.api import account, health, house, sign_in, sites

app = house.build(sites.ADMIN, *health.ROUTES, *sign_in.ROUTES, *account.ROUTES)
