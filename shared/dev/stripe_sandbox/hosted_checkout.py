"""The hosted Checkout, `/c/{session}`: what is bought, what is due today, and a card number."""

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shared.dev.stripe_sandbox import checkout, pages
from shared.dev.stripe_sandbox.hosted import SELLER, closed, field, found
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox
from shared.dev.stripe_sandbox.words import day, each, link, metered, money, unit

KIND = "checkout.session"
DAY = 86_400
OVER = {
    "complete": ("This is done", "This checkout was completed before. Nothing is charged twice."),
    "expired": ("This checkout has expired", f"Start again at {SELLER}. Nothing was charged."),
}


def routes(sandbox: Sandbox) -> list[Route]:
    async def page(request: Request) -> Response:
        known = found(sandbox, request, KIND)
        if known is None:
            return _nothing(request)
        account, session = known
        if session["status"] != "open":
            return _over(request, session, 410 if session["status"] == "expired" else 200)
        return _page(request, account, session)

    async def pay(request: Request) -> Response:
        known = found(sandbox, request, KIND)
        if known is None:
            return _nothing(request)
        account, session = known
        typed = await field(request, "card")
        if session["status"] != "open":  # paid in another tab, or expired meanwhile
            return _over(request, session, 409)
        try:
            if await field(request, "without"):
                outcome = checkout.finish_without_card(account, session["id"])
            else:
                outcome = checkout.pay(account, session["id"], typed)
        except Refusal as refused:  # what was to be bought is not there any more
            return _page(request, account, session, refused.status, wrong=refused.message, typed=typed)
        finally:
            sandbox.save()
        if not outcome.paid:
            return _page(request, account, session, 402, wrong=outcome.message, typed=typed)
        url = link(outcome.url)
        return RedirectResponse(url, 303) if url else _over(request, session, 200)

    return [Route("/c/{id}", page), Route("/c/{id}", pay, methods=["POST"])]


def _page(
    request: Request,
    account: Account,
    session: Object,
    status: int = 200,
    *,
    wrong: str = "",
    typed: str = "",
) -> Response:
    customer = account.get("customer", session["customer"]) or {}
    return pages.show(
        request,
        "checkout",
        status,
        name=SELLER,
        session=session,
        cancel=link(session["cancel_url"]),
        email=customer.get("email") or session["customer_email"] or "",
        wrong=wrong,
        typed=typed,
        **(_setup() if session["mode"] == "setup" else _subscription(account, session)),
    )


def _setup() -> dict[str, Any]:
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


def _subscription(account: Account, session: Object) -> dict[str, Any]:
    lines, currency = session["_line_items"]["data"], session["currency"]
    whole, due = sum(line["amount_total"] for line in lines), checkout.today(account, session["id"])
    fixed = [line for line in lines if not metered(line["price"])]
    often = each((fixed or lines)[0]["price"])
    price = f"{money(whole, currency)} {often}" if fixed else "By use"
    name, trial = lines[0]["description"], _trial_end(account, session)
    off = session["total_details"]["amount_discount"]
    return {
        "heading": f"Try {name}" if trial else f"Subscribe to {name}",
        "price": price,
        "sentence": f"Free until {day(trial)}, then {price}." if trial else "",
        "lines": [_line(line) for line in lines],
        "less": [("Discount", money(-off, currency))] if off else [],
        "due": money(due, currency),
        "button": f"Pay {money(due, currency)}" if due else "Start trial" if trial else "Subscribe",
        "terms": f"Renews {often.replace('a ', 'every ', 1)} until you cancel, which you can do in the billing portal.",
        "optional": checkout.card_is_optional(account, session["id"]),
    }


def _line(line: Object) -> dict[str, str]:
    price = line["price"]
    if metered(price):
        detail = f"{unit(price)}, billed afterwards" if price["unit_amount_decimal"] else f"{unit(price)}"
        return {"name": line["description"], "detail": detail.capitalize(), "amount": "By use"}
    detail = f"{line['quantity']:,} × {unit(price)} {each(price)}"
    return {
        "name": line["description"],
        "detail": detail,
        "amount": money(line["amount_total"], price["currency"]),
    }


def _trial_end(account: Account, session: Object) -> int | None:
    sent = session["_sent"]
    if "trial_end" in sent:
        return int(sent["trial_end"])
    days = sent.get("trial_period_days")
    return account.now(session) + int(days) * DAY if days else None


def _over(request: Request, session: Object, status: int) -> Response:
    title, sentence = OVER[session["status"]]
    back = link(session["cancel_url"]) or link(session["success_url"])
    return closed(request, title, sentence, status, url=back, back=f"Back to {SELLER}")


def _nothing(request: Request) -> Response:
    return closed(request, "This link does not work", f"Start again at {SELLER}. Nothing was charged.", 404)
