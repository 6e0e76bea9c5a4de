"""The HTTP half of the admin app: its own realm, its own doors, nothing of the tenants'."""

from shared.web import account, app_sites, health, http_app, sign_in

app = http_app.build_app(app_sites.ADMIN, *health.ROUTES, *sign_in.ROUTES, *account.ROUTES)
