"""HTTP routes of the admin app: sign-in, account, health and the operators' API, in the operators' realm."""

from shared.web import account, app_sites, health, http_app, operator_files, sign_in, well_known
from shared.web.rest import api
from shared.web.rest.api_realms import OPERATOR_API

app = http_app.build_app(
    app_sites.ADMIN,
    *health.ROUTES,
    *sign_in.ROUTES,
    *account.ROUTES,
    *operator_files.ROUTES,
    *well_known.ROUTES,
    api_routes=api.build_routes(OPERATOR_API),
)
