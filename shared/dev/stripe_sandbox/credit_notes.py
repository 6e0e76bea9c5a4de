"""Credit notes: an invoice was too high. Before it is paid they lower it; afterwards money or credit goes back."""

from shared.dev.stripe_sandbox import balances, collection, payments
from shared.dev.stripe_sandbox.objects import fetch, make, merge_metadata, update
from shared.dev.stripe_sandbox.refunds import refund
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.routes import PAGING, Call, embedded, page, route, within
from shared.dev.stripe_sandbox.store import Account, Object, visible

WAYS = ("credit_amount", "refund_amount", "out_of_band_amount")


@route(
    "POST",
    "/v1/credit_notes",
    "CreditNoteCreateParams",
    f"invoice amount lines.type lines.invoice_line_item lines.amount lines.description lines.quantity"
    f" lines.unit_amount memo metadata reason email_type {' '.join(WAYS)}",
)
def create(call: Call) -> Object:
    account = call.account
    invoice = fetch(account, "invoice", call.get("invoice"), "invoice")
    if invoice["status"] not in ("open", "paid"):
        raise Refusal(
            f"A credit note needs an open or paid invoice; this one is {invoice['status']}.", param="invoice"
        )
    note = make(
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
    note["number"] = f"{invoice['number']}-CN-{1 + len(_of(account, invoice)):02d}"
    note["pdf"] = f"{account.sandbox.base_url}/i/{invoice['id']}/pdf"
    merge_metadata(note, call.get("metadata"))
    _lines(account, note, invoice, call)
    left = invoice["total"] - sum(one["total"] for one in _of(account, invoice) if one["status"] == "issued")
    if not 0 < note["total"] <= left:
        raise Refusal(
            f"The credit note amount ({note['total']}) has to be between 1 and what is not yet credited ({left}).",
            param="amount",
        )
    if invoice["status"] == "open":
        _before_payment(account, note, invoice)
    else:
        _after_payment(account, note, invoice, {name: call.get(name, 0) for name in WAYS})
    account.put(note)
    account.emit("credit_note.created", note)
    if invoice["status"] == "open" and invoice["amount_remaining"] == 0:
        collection.credited(account, invoice)
    return note


@route("GET", "/v1/credit_notes/{id}", "CreditNoteRetrieveParams")
def retrieve(call: Call) -> Object:
    return fetch(call.account, "credit_note", call.ids["id"])


@route("POST", "/v1/credit_notes/{id}", "CreditNoteUpdateParams", "memo metadata")
def change(call: Call) -> Object:
    note = fetch(call.account, "credit_note", call.ids["id"])
    before = visible(note)
    note["memo"] = call.get("memo", note["memo"])
    merge_metadata(note, call.get("metadata"))
    return update(call.account, note, "credit_note.updated", before)


@route("POST", "/v1/credit_notes/{id}/void", "CreditNoteVoidCreditNoteParams")
def void(call: Call) -> Object:
    """Only as long as the invoice is open: money that went back stays there."""
    account = call.account
    note = fetch(account, "credit_note", call.ids["id"])
    invoice = account.objects["invoice"][note["invoice"]]
    if note["status"] == "void" or invoice["status"] != "open":
        raise Refusal("You can only void a credit note of an open invoice.", code="credit_note_not_voidable")
    note |= {"status": "void", "voided_at": account.now(invoice)}
    account.put(note)
    before = visible(invoice)
    for name in ("amount_due", "amount_remaining"):
        invoice[name] += note["total"]
    invoice["pre_payment_credit_notes_amount"] -= note["total"]
    account.emit("credit_note.voided", note)
    update(account, invoice, "invoice.updated", before)
    return note


@route("GET", "/v1/credit_notes", "CreditNoteListParams", f"{PAGING} customer invoice created")
def listing(call: Call) -> Object:
    found = [
        one
        for one in call.account.all("credit_note")
        if all(one[name] == call.get(name, one[name]) for name in ("customer", "invoice"))
        and ("created" not in call.sent or within(one["created"], call.get("created")))
    ]
    return page(call, found, "credit note")


def _of(account: Account, invoice: Object) -> list[Object]:
    return [one for one in account.all("credit_note") if one["invoice"] == invoice["id"]]


def _lines(account: Account, note: Object, invoice: Object, call: Call) -> None:
    if ("amount" in call.sent) == ("lines" in call.sent):
        raise Refusal("You must specify either `amount` or `lines`.", param="amount")
    sent = call.get("lines") or [
        {"type": "custom_line_item", "unit_amount": call.get("amount"), "quantity": 1}
    ]
    found = [_line(account, invoice, each) for each in sent]
    note["lines"] = embedded(found, f"/v1/credit_notes/{note['id']}/lines")
    total = sum(line["amount"] for line in found)
    for name in ("amount", "subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"):
        note[name] = total


def _line(account: Account, invoice: Object, sent: Object) -> Object:
    if sent["type"] == "custom_line_item":
        quantity, unit = sent.get("quantity", 1), sent.get("unit_amount", 0)
        return make(
            account,
            "credit_note_line_item",
            amount=quantity * unit,
            description=sent.get("description"),
            quantity=quantity,
            unit_amount=unit,
            unit_amount_decimal=str(unit),
            taxes=[],
        )
    of = next((one for one in invoice["lines"]["data"] if one["id"] == sent.get("invoice_line_item")), None)
    if of is None:
        raise Refusal(
            "No such line on this invoice.", code="resource_missing", param="lines[0][invoice_line_item]"
        )
    return make(
        account,
        "credit_note_line_item",
        type="invoice_line_item",
        invoice_line_item=of["id"],
        amount=sent.get("amount", of["amount"]),
        description=of["description"],
        taxes=[],
    )


def _before_payment(account: Account, note: Object, invoice: Object) -> None:
    if note["total"] > invoice["amount_remaining"]:
        raise Refusal("The credit note is higher than what is still to be paid.", param="amount")
    before = visible(invoice)
    note |= {"type": "pre_payment", "pre_payment_amount": note["total"]}
    invoice["pre_payment_credit_notes_amount"] += note["total"]
    for name in ("amount_due", "amount_remaining"):
        invoice[name] -= note["total"]
    _, intent = payments.payment_of(account, invoice)
    intent["amount"] = invoice["amount_remaining"]
    account.put(intent)
    update(account, invoice, "invoice.updated", before)


def _after_payment(account: Account, note: Object, invoice: Object, ways: dict[str, int]) -> None:
    if sum(ways.values()) != note["total"]:
        raise Refusal(
            "The sum of credit amount, refund amount and out of band amount"
            f" ({sum(ways.values())}) must equal the credit note amount ({note['total']}).",
            param="credit_amount",
        )
    note |= {"type": "post_payment", "post_payment_amount": note["total"]}
    if ways["refund_amount"]:  # first, as it is what may be refused
        _, intent = payments.payment_of(account, invoice)
        made = refund(account, account.objects["charge"][intent["latest_charge"]], ways["refund_amount"])
        note["refunds"] = [
            {
                "amount_refunded": made["amount"],
                "refund": made["id"],
                "type": "refund",
                "payment_record_refund": None,
            }
        ]
    if ways["credit_amount"]:
        moved = balances.move(
            account,
            invoice["customer"],
            -ways["credit_amount"],
            invoice["currency"],
            "credit_note",
            credit_note=note["id"],
            invoice=invoice["id"],
        )
        note["customer_balance_transaction"] = moved["id"]
    if ways["out_of_band_amount"]:
        note["out_of_band_amount"] = ways["out_of_band_amount"]
    before = visible(invoice)
    invoice["post_payment_credit_notes_amount"] += note["total"]
    update(account, invoice, "invoice.updated", before)
