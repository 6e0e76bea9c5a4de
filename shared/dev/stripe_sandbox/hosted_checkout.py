"""The hosted Checkout, `/c/{session}`: what is bought, what is due today, and a card number."""

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shared.dev.stripe_sandbox import buyer_details, checkout, pages
from shared.dev.stripe_sandbox.buyer_details import BuyerDetails
from shared.dev.stripe_sandbox.formatting import (
    allow_web_url,
    format_day,
    format_interval,
    format_money,
    format_unit_price,
    is_metered_price,
)
from shared.dev.stripe_sandbox.hosted import SELLER_NAME, find_page_object, read_field, render_closed
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox

KIND = "checkout.session"
DAY = 86_400
CLOSED_TEXTS = {
    "complete": ("Checkout completed", "This checkout was already completed. Nothing is charged twice."),
    "expired": ("This checkout has expired", f"Start again at {SELLER_NAME}. Nothing was charged."),
}


def build_routes(sandbox: Sandbox) -> list[Route]:
    async def page(request: Request) -> Response:
        match = find_page_object(sandbox, request, KIND)
        if match is None:
            return _render_not_found(request)
        account, session = match
        if session["status"] != "open":
            return _render_closed(request, session, 410 if session["status"] == "expired" else 200)
        return _render_page(request, account, session)

    async def pay(request: Request) -> Response:
        match = find_page_object(sandbox, request, KIND)
        if match is None:
            return _render_not_found(request)
        account, session = match
        card_number = await read_field(request, "card")
        if session["status"] != "open":  # paid in another tab, or expired meanwhile
            return _render_closed(request, session, 409)
        try:
            asked_address = buyer_details.needs_address(session)
            checkout.enter_details(account, session["id"], await _read_details(request))
            if asked_address:  # the page shows the tax before anything is paid
                return _render_page(request, account, session)
            if await read_field(request, "without"):
                outcome = checkout.complete_without_card(account, session["id"])
            else:
                is_confirmed = bool(await read_field(request, "confirm"))
                outcome = checkout.pay_with_card(
                    account, session["id"], card_number, is_confirmed=is_confirmed
                )
        except ApiError as error:  # what was to be bought is not there any more
            return _render_page(
                request, account, session, error.status, error_message=error.message, card_number=card_number
            )
        finally:
            sandbox.save()
        if not outcome.paid:
            return _render_page(
                request,
                account,
                session,
                402,
                error_message=outcome.message,
                card_number=card_number,
                confirms=outcome.needs_confirmation,
            )
        url = allow_web_url(outcome.url)
        return RedirectResponse(url, 303) if url else _render_closed(request, session, 200)

    return [Route("/c/{id}", page), Route("/c/{id}", pay, methods=["POST"])]


async def _read_details(request: Request) -> BuyerDetails:
    names = ("country", "postal_code", "business_name", "tax_id")
    return BuyerDetails(**{name: await read_field(request, name) for name in names})


def _render_page(
    request: Request,
    account: Account,
    session: Object,
    status: int = 200,
    *,
    error_message: str = "",
    card_number: str = "",
    confirms: bool = False,
) -> Response:
    customer = account.get("customer", session["customer"]) or {}
    return pages.render_page(
        request,
        "checkout",
        status,
        name=SELLER_NAME,
        session=session,
        cancel=allow_web_url(session["cancel_url"]),
        email=customer.get("email") or session["customer_email"] or "",
        wrong=error_message,
        typed=card_number,
        confirms=confirms,
        asks_address=buyer_details.needs_address(session),
        asks_tax_id=buyer_details.asks_tax_id(account, session),
        **(_build_setup_view() if session["mode"] == "setup" else _build_subscription_view(account, session)),
    )


def _build_setup_view() -> dict[str, Any]:
    return {
        "heading": "Save a payment method",
        "sentence": "It is charged when your next invoice is due. Nothing is charged now.",
        "price": "",
        "lines": [],
        "less": [],
        "due": "",
        "button": "Save card",
        "terms": "",
        "optional": False,
    }


def _build_subscription_view(account: Account, session: Object) -> dict[str, Any]:
    lines, currency = session["_line_items"]["data"], session["currency"]
    total, due = (
        sum(line["amount_total"] for line in lines),
        checkout.compute_amount_due(account, session["id"]),
    )
    fixed_lines = [line for line in lines if not is_metered_price(line["price"])]
    first_price = (fixed_lines or lines)[0]["price"]
    price = (
        f"{format_money(total, currency)} {format_interval(first_price)}" if fixed_lines else "Usage-based"
    )
    name, trial = lines[0]["description"], _compute_trial_end(account, session)
    discount, tax = session["total_details"]["amount_discount"], session["total_details"]["amount_tax"]
    reductions = [("Discount", format_money(-discount, currency))] if discount else []
    reductions += [("Tax", format_money(tax, currency))] if tax else []
    return {
        "heading": f"Try {name}" if trial else f"Subscribe to {name}",
        "price": price,
        "sentence": f"Free until {format_day(trial)}, then {price}." if trial else "",
        "lines": [_build_line_view(line) for line in lines],
        "less": reductions,
        "due": format_money(due, currency),
        "button": f"Pay {format_money(due, currency)}" if due else "Start trial" if trial else "Subscribe",
        "terms": f"Renews {format_interval(first_price, determiner='every')} until you cancel, which you can do in the billing portal.",
        "optional": checkout.is_card_optional(account, session["id"]),
    }


def _build_line_view(line: Object) -> dict[str, str]:
    price = line["price"]
    if is_metered_price(price):
        detail = (
            f"{format_unit_price(price)}, billed afterwards"
            if price["unit_amount_decimal"]
            else f"{format_unit_price(price)}"
        )
        return {"name": line["description"], "detail": detail.capitalize(), "amount": "Usage-based"}
    detail = f"{line['quantity']:,} × {format_unit_price(price)} {format_interval(price)}"
    return {
        "name": line["description"],
        "detail": detail,
        "amount": format_money(line["amount_subtotal"], price["currency"]),
    }


def _compute_trial_end(account: Account, session: Object) -> int | None:
    params = session["_sent"]
    if "trial_end" in params:
        return int(params["trial_end"])
    days = params.get("trial_period_days")
    return account.now(session) + int(days) * DAY if days else None


def _render_closed(request: Request, session: Object, status: int) -> Response:
    title, sentence = CLOSED_TEXTS[session["status"]]
    back = allow_web_url(session["cancel_url"]) or allow_web_url(session["success_url"])
    return render_closed(request, title, sentence, status, url=back, back=f"Back to {SELLER_NAME}")


def _render_not_found(request: Request) -> Response:
    return render_closed(
        request, "This link doesn't work", f"Start again at {SELLER_NAME}. Nothing was charged.", 404
    )
