"""Credit notes: an invoice was too high. Before it is paid they lower it; afterwards money or credit goes back."""

from decimal import Decimal

from shared.dev.stripe_sandbox import balances, collection, payments, taxes
from shared.dev.stripe_sandbox.amounts import round_amount
from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata, save_change
from shared.dev.stripe_sandbox.refunds import refund_charge
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, build_list, is_within, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

CREDIT_METHODS = ("credit_amount", "refund_amount", "out_of_band_amount")


@route(
    "POST",
    "/v1/credit_notes",
    "CreditNoteCreateParams",
    f"invoice amount lines.type lines.invoice_line_item lines.amount lines.description lines.quantity"
    f" lines.unit_amount memo metadata reason email_type {' '.join(CREDIT_METHODS)}",
)
def create_credit_note(call: ApiCall) -> Object:
    account = call.account
    invoice = fetch_object(account, "invoice", call.get("invoice"), "invoice")
    if invoice["status"] not in ("open", "paid"):
        raise ApiError(
            f"A credit note needs an open or paid invoice; this one is {invoice['status']}.", param="invoice"
        )
    note = make_object(
        account,
        "credit_note",
        invoice=invoice["id"],
        customer=invoice["customer"],
        created=account.now(invoice),
        currency=invoice["currency"],
        effective_at=account.now(invoice),
        memo=call.get("memo"),
        reason=call.get("reason"),
        metadata={},
        status="issued",
        total_taxes=[],
    )
    note["number"] = f"{invoice['number']}-CN-{1 + len(_list_for_invoice(account, invoice)):02d}"
    note["pdf"] = f"{account.sandbox.base_url}/i/{invoice['id']}/pdf"
    merge_metadata(note, call.get("metadata"))
    _fill_lines(account, note, invoice, call)
    creditable = invoice["total"] - sum(
        issued_note["total"]
        for issued_note in _list_for_invoice(account, invoice)
        if issued_note["status"] == "issued"
    )
    if not 0 < note["total"] <= creditable:
        raise ApiError(
            f"The credit note amount ({note['total']}) has to be between 1 and what is not yet credited ({creditable}).",
            param="amount",
        )
    if invoice["status"] == "open":
        _credit_open_invoice(account, note, invoice)
    else:
        _credit_paid_invoice(account, note, invoice, {name: call.get(name, 0) for name in CREDIT_METHODS})
    account.put(note)
    account.emit("credit_note.created", note)
    if invoice["status"] == "open" and invoice["amount_remaining"] == 0:
        collection.close_credited_invoice(account, invoice)
    return note


@route("GET", "/v1/credit_notes/{id}", "CreditNoteRetrieveParams")
def retrieve_credit_note(call: ApiCall) -> Object:
    return fetch_object(call.account, "credit_note", call.ids["id"])


@route("POST", "/v1/credit_notes/{id}", "CreditNoteUpdateParams", "memo metadata")
def change_credit_note(call: ApiCall) -> Object:
    note = fetch_object(call.account, "credit_note", call.ids["id"])
    previous = copy_visible(note)
    note["memo"] = call.get("memo", note["memo"])
    merge_metadata(note, call.get("metadata"))
    return save_change(call.account, note, "credit_note.updated", previous)


@route("POST", "/v1/credit_notes/{id}/void", "CreditNoteVoidCreditNoteParams")
def void_credit_note(call: ApiCall) -> Object:
    """Only as long as the invoice is open: money that went back stays there."""
    account = call.account
    note = fetch_object(account, "credit_note", call.ids["id"])
    invoice = account.objects["invoice"][note["invoice"]]
    if note["status"] == "void" or invoice["status"] != "open":
        raise ApiError("You can only void a credit note of an open invoice.", code="credit_note_not_voidable")
    note |= {"status": "void", "voided_at": account.now(invoice)}
    account.put(note)
    previous = copy_visible(invoice)
    for name in ("amount_due", "amount_remaining"):
        invoice[name] += note["total"]
    invoice["pre_payment_credit_notes_amount"] -= note["total"]
    account.emit("credit_note.voided", note)
    save_change(account, invoice, "invoice.updated", previous)
    return note


@route("GET", "/v1/credit_notes", "CreditNoteListParams", f"{PAGING} customer invoice created")
def list_credit_notes(call: ApiCall) -> Object:
    notes = [
        note
        for note in call.account.list_objects("credit_note")
        if all(note[name] == call.get(name, note[name]) for name in ("customer", "invoice"))
        and ("created" not in call.params or is_within(note["created"], call.get("created")))
    ]
    return paginate(call, notes, "credit note")


def _list_for_invoice(account: Account, invoice: Object) -> list[Object]:
    return [note for note in account.list_objects("credit_note") if note["invoice"] == invoice["id"]]


def _fill_lines(account: Account, note: Object, invoice: Object, call: ApiCall) -> None:
    """`amount` contains the tax, in proportion to that of the invoice; amounts of lines are without exclusive tax.

    https://docs.stripe.com/tax/invoicing/refunds
    """
    if ("amount" in call.params) == ("lines" in call.params):
        raise ApiError("You must specify either `amount` or `lines`.", param="amount")
    if "amount" in call.params:
        note_lines = [_build_amount_line(account, invoice, call.get("amount"))]
    else:
        note_lines = [_build_line(account, invoice, line_params) for line_params in call.get("lines")]
    note["lines"] = build_list(note_lines, f"/v1/credit_notes/{note['id']}/lines")
    note["total_taxes"] = taxes.sum_taxes(tax for line in note_lines for tax in line["taxes"])
    added_tax = taxes.sum_amounts(note["total_taxes"], "exclusive")
    included_tax = taxes.sum_amounts(note["total_taxes"], "inclusive")
    note["subtotal"] = sum(line["amount"] for line in note_lines)
    note["subtotal_excluding_tax"] = note["subtotal"] - included_tax
    note["amount"] = note["total"] = note["subtotal"] + added_tax
    note["total_excluding_tax"] = note["total"] - added_tax - included_tax


def _build_amount_line(account: Account, invoice: Object, total: int) -> Object:
    line_taxes = _share_taxes(invoice["total_taxes"], total, invoice["total"], invoice["currency"])
    amount = total - taxes.sum_amounts(line_taxes, "exclusive")
    return _build_custom_line(account, {"unit_amount": amount}, line_taxes)


def _share_taxes(all_taxes: list[Object], amount: int, whole_amount: int, currency: str) -> list[Object]:
    """The part of these taxes that belongs to a part of the amount."""
    share = Decimal(amount) / whole_amount if whole_amount else Decimal(0)
    return [
        {**tax, **{name: round_amount(tax[name] * share, currency) for name in ("amount", "taxable_amount")}}
        for tax in all_taxes
    ]


def _build_custom_line(account: Account, params: Object, line_taxes: list[Object]) -> Object:
    quantity, unit_amount = params.get("quantity", 1), params.get("unit_amount", 0)
    return make_object(
        account,
        "credit_note_line_item",
        amount=quantity * unit_amount,
        description=params.get("description"),
        quantity=quantity,
        unit_amount=unit_amount,
        unit_amount_decimal=str(unit_amount),
        taxes=line_taxes,
    )


def _build_line(account: Account, invoice: Object, params: Object) -> Object:
    if params["type"] == "custom_line_item":
        return _build_custom_line(account, params, [])
    invoice_line = next(
        (line for line in invoice["lines"]["data"] if line["id"] == params.get("invoice_line_item")), None
    )
    if invoice_line is None:
        raise ApiError(
            "No such line on this invoice.", code="resource_missing", param="lines[0][invoice_line_item]"
        )
    amount = params.get("amount", invoice_line["amount"])
    return make_object(
        account,
        "credit_note_line_item",
        type="invoice_line_item",
        invoice_line_item=invoice_line["id"],
        amount=amount,
        description=invoice_line["description"],
        taxes=_share_taxes(invoice_line["taxes"], amount, invoice_line["amount"], invoice["currency"]),
    )


def _credit_open_invoice(account: Account, note: Object, invoice: Object) -> None:
    if note["total"] > invoice["amount_remaining"]:
        raise ApiError("The credit note is higher than what is still to be paid.", param="amount")
    previous = copy_visible(invoice)
    note |= {"type": "pre_payment", "pre_payment_amount": note["total"]}
    invoice["pre_payment_credit_notes_amount"] += note["total"]
    for name in ("amount_due", "amount_remaining"):
        invoice[name] -= note["total"]
    _, intent = payments.get_payment(account, invoice)
    intent["amount"] = invoice["amount_remaining"]
    account.put(intent)
    save_change(account, invoice, "invoice.updated", previous)


def _credit_paid_invoice(
    account: Account, note: Object, invoice: Object, amounts_by_method: dict[str, int]
) -> None:
    if sum(amounts_by_method.values()) != note["total"]:
        raise ApiError(
            "The sum of credit amount, refund amount and out of band amount"
            f" ({sum(amounts_by_method.values())}) must equal the credit note amount ({note['total']}).",
            param="credit_amount",
        )
    note |= {"type": "post_payment", "post_payment_amount": note["total"]}
    if amounts_by_method["refund_amount"]:  # first, as it is what may be refused
        _, intent = payments.get_payment(account, invoice)
        new_refund = refund_charge(
            account, account.objects["charge"][intent["latest_charge"]], amounts_by_method["refund_amount"]
        )
        note["refunds"] = [
            {
                "amount_refunded": new_refund["amount"],
                "refund": new_refund["id"],
                "type": "refund",
                "payment_record_refund": None,
            }
        ]
    if amounts_by_method["credit_amount"]:
        transaction = balances.adjust_balance(
            account,
            invoice["customer"],
            -amounts_by_method["credit_amount"],
            invoice["currency"],
            "credit_note",
            credit_note=note["id"],
            invoice=invoice["id"],
        )
        note["customer_balance_transaction"] = transaction["id"]
    if amounts_by_method["out_of_band_amount"]:
        note["out_of_band_amount"] = amounts_by_method["out_of_band_amount"]
    previous = copy_visible(invoice)
    invoice["post_payment_credit_notes_amount"] += note["total"]
    save_change(account, invoice, "invoice.updated", previous)
