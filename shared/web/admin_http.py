"""HTTP routes of the admin app: sign-in, account and health, in the operators' realm."""

from shared.web import account, app_sites, health, http_app, sign_in, well_known

app = http_app.build_app(
    app_sites.ADMIN, *health.ROUTES, *sign_in.ROUTES, *account.ROUTES, *well_known.ROUTES
)
