"""`/_control`: the controls as a page with forms, and as JSON for tests. There is no authentication.

`POST /_control/<name>` applies a control; its fields are JSON or a form. Without `account`, it is the demo's account.
`GET /_control.json` returns the state of the account and its deliveries.
"""

import json
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from shared.dev.stripe_sandbox import customer_view, outage, pages
from shared.dev.stripe_sandbox.controls import CONTROLS, DEMO_KEY, Control, get_status
from shared.dev.stripe_sandbox.deliveries import RETRY_GAPS_S, DeliveryQueue
from shared.dev.stripe_sandbox.formatting import describe_status
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox

PAGE_SIZE = 40


def build_routes(sandbox: Sandbox, deliveries: DeliveryQueue) -> list[Route]:
    async def page(request: Request) -> Response:
        account = _get_account(sandbox, request)
        _, done_text = CONTROLS.get(request.query_params.get("done", ""), (Control, ""))
        return _render_page(request, account, deliveries, done_text=done_text)

    async def as_json(request: Request) -> Response:
        return JSONResponse(get_status(_get_account(sandbox, request), deliveries))

    async def apply(request: Request) -> Response:
        control, _ = CONTROLS.get(request.path_params["name"], (None, ""))
        if control is None:
            return JSONResponse(
                {"error": f"This control doesn't exist. Controls: {', '.join(CONTROLS)}."}, 404
            )
        is_json = request.headers.get("content-type", "").startswith("application/json")
        account = sandbox.get_account(DEMO_KEY)
        try:
            form = control.model_validate(await _read_values(request, is_json))
            account = sandbox.get_account(form.account)
            result = await form.apply(account, deliveries)
        except (ValidationError, ApiError) as error:
            status, message = _describe_error(error)
            if is_json:
                return JSONResponse({"error": message}, status)
            return _render_page(request, account, deliveries, status, error_message=message)
        finally:
            sandbox.save()
        if is_json:
            return JSONResponse({"done": True, **result})
        back = f"{request.scope.get('root_path', '')}/_control?account={account.key}"
        return RedirectResponse(f"{back}&done={request.path_params['name']}", 303)

    return [
        Route("/_control", page),
        Route("/_control.json", as_json),
        Route("/_control/{name}", apply, methods=["POST"]),
    ]


def _get_account(sandbox: Sandbox, request: Request) -> Account:
    """The account in the query. An unknown one is not created: the demo's is returned."""
    return sandbox.accounts.get(request.query_params.get("account", "")) or sandbox.get_account(DEMO_KEY)


async def _read_values(request: Request, is_json: bool) -> Any:
    if is_json:
        try:
            return json.loads(await request.body() or b"{}")
        except ValueError as error:
            raise ApiError("The body is not JSON.") from error
    async with request.form() as form:
        values: dict[str, Any] = {name: value for name, value in form.items() if value != ""}
    if "gaps" in values:
        values["gaps"] = [part for part in str(values["gaps"]).replace(",", " ").split() if part]
    return values


def _describe_error(error: ValidationError | ApiError) -> tuple[int, str]:
    if isinstance(error, ApiError):
        return error.status, error.message
    first_error = error.errors()[0]
    return 422, f"{'.'.join(str(part) for part in first_error['loc'])}: {first_error['msg']}"


def _render_page(
    request: Request,
    account: Account,
    deliveries: DeliveryQueue,
    status: int = 200,
    *,
    done_text: str = "",
    error_message: str = "",
) -> Response:
    return pages.render_page(
        request,
        "control",
        status,
        done=done_text,
        wrong=error_message,
        accounts=sorted(account.sandbox.accounts),
        demo=DEMO_KEY,
        customers=[
            _build_customer_view(account, customer)
            for customer in account.list_objects("customer")
            if not customer.get("deleted")
        ][:PAGE_SIZE],
        gaps=RETRY_GAPS_S,
        endpoints=account.list_objects("webhook_endpoint"),
        held=sum(delivery["state"] == "held" for delivery in deliveries.list_deliveries(account)),
        network=account.settings,
        stopped=outage.get_outage_end(account),
        **get_status(account, deliveries, PAGE_SIZE),
    )


def _build_customer_view(account: Account, customer: Object) -> dict[str, Any]:
    return {
        **customer,
        "method": customer_view.get_payment_method(account, customer),
        "subscriptions": [
            (subscription, *describe_status(subscription))
            for subscription in customer_view.list_subscriptions(account, customer)
        ],
    }
