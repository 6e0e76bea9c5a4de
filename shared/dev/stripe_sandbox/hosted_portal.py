"""The hosted Portal, `/p/{session}`: the payment method, cancel and resume, invoices, and the way back."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shared.dev.stripe_sandbox import customer_view, pages, portal
from shared.dev.stripe_sandbox.formatting import INVOICE_LABELS, allow_web_url, describe_status
from shared.dev.stripe_sandbox.hosted import SELLER_NAME, find_page_object, read_field, render_closed
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox

Endpoint = Callable[[Request], Awaitable[Response]]
KIND = "billing_portal.session"
DONE_TEXTS = {
    "cancel": "Your subscription was canceled.",
    "card": "Your payment method was replaced.",
    "resume": "Your subscription continues.",
}


def build_routes(sandbox: Sandbox) -> list[Route]:
    async def page(request: Request) -> Response:
        match = find_page_object(sandbox, request, KIND)
        if match is None or _get_customer(*match) is None:
            return _render_not_found(request)
        done_text = DONE_TEXTS.get(request.query_params.get("done", ""), "")
        return _render_page(
            request, *match, done_text=done_text, leaving_id=request.query_params.get("cancel", "")
        )

    def act(action: str) -> Endpoint:
        async def done(request: Request) -> Response:
            match = find_page_object(sandbox, request, KIND)
            if match is None or (customer := _get_customer(*match)) is None:
                return _render_not_found(request)
            account, session = match
            try:
                if action == "card":
                    if not _get_configuration(account, session)["features"]["payment_method_update"][
                        "enabled"
                    ]:
                        raise ApiError("Replacing the card isn't available in this portal.")
                    portal.replace_card(account, customer["id"], await read_field(request, "card"))
                elif action == "cancel":
                    subscription = _get_own_subscription(
                        account, customer, await read_field(request, "subscription")
                    )
                    portal.cancel_subscription(
                        account,
                        subscription["id"],
                        _get_configuration(account, session),
                        feedback=await read_field(request, "feedback"),
                    )
                else:
                    subscription = _get_own_subscription(
                        account, customer, await read_field(request, "subscription")
                    )
                    portal.resume_subscription(account, subscription["id"])
            except ApiError as error:
                return _render_page(request, account, session, error.status, error_message=error.message)
            finally:
                sandbox.save()
            return RedirectResponse(f"{_build_session_path(request, session)}?done={action}", 303)

        return done

    return [
        Route("/p/{id}", page),
        *(Route(f"/p/{{id}}/{action}", act(action), methods=["POST"]) for action in DONE_TEXTS),
    ]


def _render_page(
    request: Request,
    account: Account,
    session: Object,
    status: int = 200,
    *,
    done_text: str = "",
    error_message: str = "",
    leaving_id: str = "",
) -> Response:
    customer = _get_customer(account, session)
    assert customer is not None
    subscriptions = customer_view.list_live_subscriptions(account, customer)
    return pages.render_page(
        request,
        "portal",
        status,
        name=SELLER_NAME,
        session=session,
        customer=customer,
        offers=_get_configuration(account, session)["features"],
        method=customer_view.get_payment_method(account, customer),
        plans=[_build_plan_view(account, subscription) for subscription in subscriptions],
        leaving=next(
            (subscription for subscription in subscriptions if subscription["id"] == leaving_id), None
        ),
        invoices=[
            (invoice, *INVOICE_LABELS[invoice["status"]])
            for invoice in customer_view.list_sent_invoices(account, customer)
        ],
        back=allow_web_url(session["return_url"]),
        done=done_text,
        wrong=error_message,
    )


def _build_plan_view(account: Account, subscription: Object) -> dict[str, Any]:
    items = [
        {**item, "product": account.get("product", item["price"]["product"]) or {"name": "A product"}}
        for item in subscription["items"]["data"]
    ]
    label, tone, next_step = describe_status(subscription)
    return {**subscription, "lines": items, "word": label, "tone": tone, "ahead": next_step}


def _get_own_subscription(account: Account, customer: Object, id_: str) -> Object:
    for subscription in customer_view.list_subscriptions(account, customer):
        if subscription["id"] == id_:
            return subscription
    raise ApiError("This subscription doesn't exist. Reload the page and try again.", status=404)


def _get_configuration(account: Account, session: Object) -> Object:
    return account.objects["billing_portal.configuration"][session["configuration"]]


def _get_customer(account: Account, session: Object) -> Object | None:
    customer = account.get("customer", session["customer"])
    return None if customer is None or customer.get("deleted") else customer


def _build_session_path(request: Request, session: Object) -> str:
    return f"{request.scope.get('root_path', '')}/p/{session['id']}"


def _render_not_found(request: Request) -> Response:
    return render_closed(request, "This link doesn't work", "Open the portal again from the app.", 404)
