"""API route of the account that owns the key."""

from shared.dev.stripe_sandbox.contract import build_skeleton
from shared.dev.stripe_sandbox.routes import ApiCall, route
from shared.dev.stripe_sandbox.store import Object


@route("GET", "/v1/account", "AccountRetrieveCurrentParams")
def retrieve_account(call: ApiCall) -> Object:
    return build_skeleton(
        "account",
        id=call.account.id,
        country="US",
        default_currency="usd",
        charges_enabled=True,
        details_submitted=True,
        payouts_enabled=True,
        type="standard",
    )
