"""`/_control`: the levers as a page with forms, and as JSON for tests. Anybody who reaches a stand-in may pull them.

`POST /_control/<lever>` with its fields as JSON or as a form; without `account`, the demo's. `GET /_control.json` shows
how things stand.
"""

import json
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from shared.dev.stripe_sandbox import belongings, outage, pages
from shared.dev.stripe_sandbox.deliveries import GAPS, Deliveries
from shared.dev.stripe_sandbox.levers import DEMO_KEY, LEVERS, Lever, facts
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox
from shared.dev.stripe_sandbox.words import standing

ON_PAGE = 40


def routes(sandbox: Sandbox, deliveries: Deliveries) -> list[Route]:
    async def page(request: Request) -> Response:
        account = _chosen(sandbox, request)
        _, done = LEVERS.get(request.query_params.get("done", ""), (Lever, ""))
        return _page(request, account, deliveries, done=done)

    async def as_json(request: Request) -> Response:
        return JSONResponse(facts(_chosen(sandbox, request), deliveries))

    async def pull(request: Request) -> Response:
        lever, _ = LEVERS.get(request.path_params["lever"], (None, ""))
        if lever is None:
            return JSONResponse({"error": f"There is no such lever. There are: {', '.join(LEVERS)}."}, 404)
        is_json = request.headers.get("content-type", "").startswith("application/json")
        account = sandbox.account(DEMO_KEY)
        try:
            form = lever.model_validate(await _sent(request, is_json))
            account = sandbox.account(form.account)
            known = await form.pull(account, deliveries)
        except (ValidationError, Refusal) as refused:
            status, wrong = _said(refused)
            if is_json:
                return JSONResponse({"error": wrong}, status)
            return _page(request, account, deliveries, status, wrong=wrong)
        finally:
            sandbox.save()
        if is_json:
            return JSONResponse({"done": True, **known})
        back = f"{request.scope.get('root_path', '')}/_control?account={account.key}"
        return RedirectResponse(f"{back}&done={request.path_params['lever']}", 303)

    return [
        Route("/_control", page),
        Route("/_control.json", as_json),
        Route("/_control/{lever}", pull, methods=["POST"]),
    ]


def _chosen(sandbox: Sandbox, request: Request) -> Account:
    """A look makes no account, only the demo's."""
    return sandbox.accounts.get(request.query_params.get("account", "")) or sandbox.account(DEMO_KEY)


async def _sent(request: Request, is_json: bool) -> Any:
    if is_json:
        try:
            return json.loads(await request.body() or b"{}")
        except ValueError as wrong:
            raise Refusal("The body is not JSON.") from wrong
    async with request.form() as form:
        sent: dict[str, Any] = {name: value for name, value in form.items() if value != ""}
    if "gaps" in sent:
        sent["gaps"] = [part for part in str(sent["gaps"]).replace(",", " ").split() if part]
    return sent


def _said(refused: ValidationError | Refusal) -> tuple[int, str]:
    if isinstance(refused, Refusal):
        return refused.status, refused.message
    first = refused.errors()[0]
    return 422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def _page(
    request: Request,
    account: Account,
    deliveries: Deliveries,
    status: int = 200,
    *,
    done: str = "",
    wrong: str = "",
) -> Response:
    return pages.show(
        request,
        "control",
        status,
        done=done,
        wrong=wrong,
        accounts=sorted(account.sandbox.accounts),
        demo=DEMO_KEY,
        customers=[_customer(account, one) for one in account.all("customer") if not one.get("deleted")][
            :ON_PAGE
        ],
        gaps=GAPS,
        endpoints=account.all("webhook_endpoint"),
        held=sum(one["state"] == "held" for one in deliveries.log(account)),
        network=account.settings,
        stopped=outage.stopped_until(account),
        **facts(account, deliveries, ON_PAGE),
    )


def _customer(account: Account, customer: Object) -> dict[str, Any]:
    return {
        **customer,
        "method": belongings.charged_next(account, customer),
        "subscriptions": [(one, *standing(one)) for one in belongings.subscriptions(account, customer)],
    }
