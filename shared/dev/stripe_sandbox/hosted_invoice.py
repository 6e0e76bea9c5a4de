"""An invoice as a page and as a PDF, `/i/{invoice}` and `/i/{invoice}/pdf`; an open one can be paid there."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shared.dev.stripe_sandbox import collection, invoice_pdf, pages, payments, portal
from shared.dev.stripe_sandbox.formatting import INVOICE_LABELS
from shared.dev.stripe_sandbox.hosted import SELLER_NAME, find_page_object, read_field, render_closed
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox

CHARGE_FAILED_TEXT = "The card was accepted, but the charge failed. Use another card."


def build_routes(sandbox: Sandbox) -> list[Route]:
    async def page(request: Request) -> Response:
        match = find_page_object(sandbox, request, "invoice")
        return _render_page(request, *match) if match else _render_not_found(request)

    async def paper(request: Request) -> Response:
        match = find_page_object(sandbox, request, "invoice")
        if match is None:
            return _render_not_found(request)
        _, invoice = match
        name = f"invoice-{invoice['number'] or invoice['id']}.pdf"
        return Response(
            invoice_pdf.render_pdf(invoice, SELLER_NAME),
            media_type="application/pdf",
            headers={"Content-Disposition": f'inline; filename="{name}"'},
        )

    async def pay(request: Request) -> Response:
        match = find_page_object(sandbox, request, "invoice")
        if match is None:
            return _render_not_found(request)
        account, invoice = match
        if invoice["status"] == "open":
            try:
                portal.replace_card(account, invoice["customer"], await read_field(request, "card"))
            except ApiError as error:
                return _render_page(request, account, invoice, error.status, error_message=error.message)
            finally:
                sandbox.save()
            if payments.get_method_to_confirm(account, invoice) is not None:
                return _render_page(request, account, invoice, 402)
            if invoice["status"] == "open":
                return _render_page(request, account, invoice, 402, error_message=CHARGE_FAILED_TEXT)
        return RedirectResponse(f"{request.scope.get('root_path', '')}/i/{invoice['id']}", 303)

    async def confirm(request: Request) -> Response:
        match = find_page_object(sandbox, request, "invoice")
        if match is None:
            return _render_not_found(request)
        account, invoice = match
        method = payments.get_method_to_confirm(account, invoice)
        if method is not None:
            collection.attempt_payment(account, invoice, method, is_confirmed=True)
            sandbox.save()
        return RedirectResponse(f"{request.scope.get('root_path', '')}/i/{invoice['id']}", 303)

    return [
        Route("/i/{id}", page),
        Route("/i/{id}/confirm", confirm, methods=["POST"]),
        Route("/i/{id}/pdf", paper),
        Route("/i/{id}/pay", pay, methods=["POST"]),
    ]


def _render_page(
    request: Request, account: Account, invoice: Object, status: int = 200, error_message: str = ""
) -> Response:
    label, tone = INVOICE_LABELS[invoice["status"]]
    return pages.render_page(
        request,
        "invoice",
        status,
        name=SELLER_NAME,
        invoice=invoice,
        word=label,
        tone=tone,
        totals=invoice_pdf.compute_totals(invoice),
        payable=invoice["status"] == "open" and account.get("customer", invoice["customer"]) is not None,
        confirms=payments.get_method_to_confirm(account, invoice) is not None,
        wrong=error_message,
    )


def _render_not_found(request: Request) -> Response:
    return render_closed(request, "Invoice not found", "Ask the sender for a new link.", 404)
