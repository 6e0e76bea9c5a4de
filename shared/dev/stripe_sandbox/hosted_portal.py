"""The hosted Portal, `/p/{session}`: the payment method, cancel and resume, invoices, and the way back."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shared.dev.stripe_sandbox import belongings, pages, portal
from shared.dev.stripe_sandbox.hosted import SELLER, closed, field, found
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox
from shared.dev.stripe_sandbox.words import INVOICES, link, standing

Endpoint = Callable[[Request], Awaitable[Response]]
KIND = "billing_portal.session"
DONE = {
    "cancel": "Your subscription is canceled.",
    "card": "Your payment method is replaced.",
    "resume": "Your subscription goes on.",
}


def routes(sandbox: Sandbox) -> list[Route]:
    async def page(request: Request) -> Response:
        known = found(sandbox, request, KIND)
        if known is None or _customer(*known) is None:
            return _nothing(request)
        done = DONE.get(request.query_params.get("done", ""), "")
        return _page(request, *known, done=done, leaving=request.query_params.get("cancel", ""))

    def act(what: str) -> Endpoint:
        async def done(request: Request) -> Response:
            known = found(sandbox, request, KIND)
            if known is None or (customer := _customer(*known)) is None:
                return _nothing(request)
            account, session = known
            try:
                if what == "card":
                    if not _configuration(account, session)["features"]["payment_method_update"]["enabled"]:
                        raise Refusal("This portal does not offer to replace the card.")
                    portal.replace_card(account, customer["id"], await field(request, "card"))
                elif what == "cancel":
                    mine = _own(account, customer, await field(request, "subscription"))
                    portal.cancel(account, mine["id"], _configuration(account, session))
                else:
                    mine = _own(account, customer, await field(request, "subscription"))
                    portal.resume(account, mine["id"])
            except Refusal as refused:
                return _page(request, account, session, refused.status, wrong=refused.message)
            finally:
                sandbox.save()
            return RedirectResponse(f"{_here(request, session)}?done={what}", 303)

        return done

    return [
        Route("/p/{id}", page),
        *(Route(f"/p/{{id}}/{what}", act(what), methods=["POST"]) for what in DONE),
    ]


def _page(
    request: Request,
    account: Account,
    session: Object,
    status: int = 200,
    *,
    done: str = "",
    wrong: str = "",
    leaving: str = "",
) -> Response:
    customer = _customer(account, session)
    assert customer is not None
    running = belongings.running(account, customer)
    return pages.show(
        request,
        "portal",
        status,
        name=SELLER,
        session=session,
        customer=customer,
        offers=_configuration(account, session)["features"],
        method=belongings.charged_next(account, customer),
        plans=[_plan(account, one) for one in running],
        leaving=next((one for one in running if one["id"] == leaving), None),
        invoices=[(one, *INVOICES[one["status"]]) for one in belongings.invoices(account, customer)],
        back=link(session["return_url"]),
        done=done,
        wrong=wrong,
    )


def _plan(account: Account, subscription: Object) -> dict[str, Any]:
    items = [
        {**item, "product": account.get("product", item["price"]["product"]) or {"name": "A product"}}
        for item in subscription["items"]["data"]
    ]
    word, tone, ahead = standing(subscription)
    return {**subscription, "lines": items, "word": word, "tone": tone, "ahead": ahead}


def _own(account: Account, customer: Object, id_: str) -> Object:
    for one in belongings.subscriptions(account, customer):
        if one["id"] == id_:
            return one
    raise Refusal("There is no such subscription. Reload the page and try again.", status=404)


def _configuration(account: Account, session: Object) -> Object:
    return account.objects["billing_portal.configuration"][session["configuration"]]


def _customer(account: Account, session: Object) -> Object | None:
    customer = account.get("customer", session["customer"])
    return None if customer is None or customer.get("deleted") else customer


def _here(request: Request, session: Object) -> str:
    return f"{request.scope.get('root_path', '')}/p/{session['id']}"


def _nothing(request: Request) -> Response:
    return closed(request, "This link does not work", "Open the portal again from where you came from.", 404)
