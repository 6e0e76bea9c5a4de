"""An invoice as a page and as a PDF, `/i/{invoice}` and `/i/{invoice}/pdf`; an open one can be paid there."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shared.dev.stripe_sandbox import invoice_pdf, pages, portal
from shared.dev.stripe_sandbox.hosted import SELLER, closed, field, found
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox
from shared.dev.stripe_sandbox.words import INVOICES

NOT_PAID = "The card was accepted, but the charge failed. Use another card."


def routes(sandbox: Sandbox) -> list[Route]:
    async def page(request: Request) -> Response:
        known = found(sandbox, request, "invoice")
        return _page(request, *known) if known else _nothing(request)

    async def paper(request: Request) -> Response:
        known = found(sandbox, request, "invoice")
        if known is None:
            return _nothing(request)
        _, invoice = known
        name = f"invoice-{invoice['number'] or invoice['id']}.pdf"
        return Response(
            invoice_pdf.render(invoice, SELLER),
            media_type="application/pdf",
            headers={"Content-Disposition": f'inline; filename="{name}"'},
        )

    async def pay(request: Request) -> Response:
        known = found(sandbox, request, "invoice")
        if known is None:
            return _nothing(request)
        account, invoice = known
        if invoice["status"] == "open":
            try:
                portal.replace_card(account, invoice["customer"], await field(request, "card"))
            except Refusal as refused:
                return _page(request, account, invoice, refused.status, wrong=refused.message)
            finally:
                sandbox.save()
            if invoice["status"] == "open":
                return _page(request, account, invoice, 402, wrong=NOT_PAID)
        return RedirectResponse(f"{request.scope.get('root_path', '')}/i/{invoice['id']}", 303)

    return [
        Route("/i/{id}", page),
        Route("/i/{id}/pdf", paper),
        Route("/i/{id}/pay", pay, methods=["POST"]),
    ]


def _page(
    request: Request, account: Account, invoice: Object, status: int = 200, wrong: str = ""
) -> Response:
    word, tone = INVOICES[invoice["status"]]
    return pages.show(
        request,
        "invoice",
        status,
        name=SELLER,
        invoice=invoice,
        word=word,
        tone=tone,
        totals=invoice_pdf.totals(invoice),
        payable=invoice["status"] == "open" and account.get("customer", invoice["customer"]) is not None,
        wrong=wrong,
    )


def _nothing(request: Request) -> Response:
    return closed(request, "There is no such invoice", "Ask who sent you the link for a new one.", 404)
