"""The dialogs of the billing page: seats, prices, cancellation, and the lines of an invoice."""

from collections.abc import Sequence
from typing import Any

import reflex as rx

from shared.billing.subscriptions.billing_details import MAX_LINE_LENGTH
from shared.billing.subscriptions.cancellation import CANCELLATION_REASONS
from shared.ui.banners import local_time
from shared.ui.controls import (
    button,
    dialog_field,
    icon,
    radio_cards,
    segmented_control,
    stepper,
    text_area,
    text_input,
)
from shared.ui.dialogs import form_dialog
from shared.ui.panels import small
from tenant_app.pages.billing.details import COUNTRY_CHOICES, TAX_ID_CHOICES
from tenant_app.pages.billing.remaining_rows import PAUSE_CREDIT
from tenant_app.pages.billing.spending import invoice_usage_list
from tenant_app.pages.billing.state import BillingState
from tenant_app.pages.billing.subscription import amount_list, external_link


def billing_dialog(
    name: str, title: Any, sentence: Any, *children: rx.Component, **props: Any
) -> rx.Component:
    return form_dialog(
        BillingState,
        name,
        title,
        sentence,
        *children,
        **props,
    )


def lines_with_total(total_label: Any) -> rx.Component:
    tax_note = BillingState.tax_note
    return rx.fragment(
        amount_list(BillingState.lines, total_label, BillingState.total),
        rx.cond(tax_note != "", small(tax_note, ".", data_testid="tax-note")),
    )


def seats_field() -> rx.Component:
    control = stepper("seats", value=BillingState.seats, on_change=BillingState.preview_seats.debounce(350))
    return dialog_field("Seats", control, id="seats")


def order_dialog() -> rx.Component:
    plan = BillingState.chosen_plan
    return billing_dialog(
        "order",
        plan.action_label,
        rx.fragment(plan.price_text, " ", plan.price_unit, " ", plan.price_note),
        seats_field(),
        small("Members and pending invitations use a seat. You can change the number at any time."),
        confirm="Continue to payment",
        submit=BillingState.start_checkout,
    )


def timing_field() -> rx.Component:
    """For a change that costs less: what is paid for is kept until its end, unless the customer wants it now."""
    at: Any = BillingState.renews_at
    control = segmented_control(
        "When it changes",
        "timing",
        [("default", rx.fragment("On ", local_time(at, "", "day"))), ("now", "Now")],
        value=rx.cond(BillingState.waits, "default", "now"),
        on_change=BillingState.choose_timing,
    )
    note = rx.cond(BillingState.waits, rx.fragment(), small("What you have paid for is credited."))
    return rx.el.div(control, note, class_name="field", data_testid="timing")


def change_dialog() -> rx.Component:
    next_price_note = small(
        rx.cond(BillingState.total == "", "No charge now. ", ""),
        rx.cond(
            BillingState.next_price_from != "",
            rx.fragment("From ", local_time(BillingState.next_price_from, "", "day"), " on: "),
            "From now on: ",
        ),
        BillingState.next_price,
        rx.cond(BillingState.method != "", rx.fragment(", charged to ", BillingState.method)),
        ".",
    )
    problem = rx.el.p(icon("triangle-alert"), BillingState.problem, class_name="row small", role="alert")
    return billing_dialog(
        "change",
        BillingState.title,
        rx.cond(
            BillingState.waits,
            "You keep what you have paid for until the period ends, and can undo the change until then.",
            BillingState.sentence,
        ),
        rx.cond(BillingState.asks_seats, seats_field()),
        rx.cond(BillingState.can_wait, timing_field()),
        rx.cond(BillingState.problem != "", problem),
        rx.cond(BillingState.total != "", lines_with_total(BillingState.total_label)),
        rx.cond(BillingState.next_price != "", next_price_note),
        confirm=BillingState.confirm_label,
        submit=BillingState.confirm_change,
    )


def remaining_charges_list() -> rx.Component:
    lines: Any = BillingState.remaining_lines
    return rx.fragment(
        rx.cond(lines.length() > 0, amount_list(lines, "", "")),
        small(BillingState.cancel_text, data_testid="remaining"),
    )


def void_checkbox() -> rx.Component:
    tick = rx.el.input(type="checkbox", name="voids_unpaid", value="on", aria_describedby="voids-note")
    label = rx.el.span("End now and don’t pay for the period that has begun", class_name="strong")
    note = small(BillingState.void_note, id="voids-note")
    ids = rx.el.input(type="hidden", name="void_ids", value=BillingState.void_ids)
    return rx.fragment(ids, rx.el.label(tick, label, note, class_name="check"))


def cancel_dialog() -> rx.Component:
    at: Any = BillingState.renews_at
    until = rx.cond(
        at != "",
        rx.fragment(
            rx.cond(
                BillingState.void_note != "", "Unless you end it now, it works until ", "It works until "
            ),
            local_time(at, "", "day"),
            "; then you’ll move to ",
            BillingState.fallback_plan,
            ". Nothing is deleted.",
        ),
        rx.fragment("After that you’ll move to ", BillingState.fallback_plan, ". Nothing is deleted."),
    )
    ends_now = rx.fragment(
        f"It is paused, so it ends now. {PAUSE_CREDIT} You’ll move to ",
        BillingState.fallback_plan,
        ". Nothing is deleted.",
    )
    return billing_dialog(
        "cancel",
        rx.fragment("Cancel ", BillingState.plan),
        rx.cond(BillingState.paused, ends_now, until),
        radio_cards(
            "Why are you cancelling? (optional)",
            "why",
            [(key, label, "") for key, label in CANCELLATION_REASONS.items()],
            value="",
            required=False,
        ),
        dialog_field(
            "What could be better? (optional)", text_area("comment", max_length="500"), id="comment"
        ),
        remaining_charges_list(),
        rx.cond(BillingState.void_note != "", void_checkbox()),
        confirm="Cancel subscription",
        submit=BillingState.cancel_subscription,
        kind="danger-fill",
        back="Keep subscription",
    )


def pause_quote() -> rx.Component:
    return rx.cond(
        BillingState.pause_total != "",
        rx.fragment(
            amount_list(BillingState.pause_lines, BillingState.pause_total_label, BillingState.pause_total),
            rx.cond(
                BillingState.pause_tax_note != "",
                small(BillingState.pause_tax_note, ".", data_testid="pause-tax-note"),
            ),
        ),
    )


def pause_dialog() -> rx.Component:
    return billing_dialog(
        "pause",
        rx.fragment("Pause ", BillingState.plan),
        "Your organisation becomes read-only now: members see everything and can’t change anything. Nothing is deleted.",
        small(
            "Nothing is charged while it is paused. Resuming starts a new period, which is charged then. If you cancel"
            " instead, the credit is added to your balance."
        ),
        pause_quote(),
        confirm="Pause subscription",
        submit=BillingState.confirm_pause,
        back="Keep subscription",
    )


def resume_dialog() -> rx.Component:
    return billing_dialog(
        "resume",
        rx.fragment("Resume ", BillingState.plan),
        "A new period begins today. It works again as soon as it is paid.",
        pause_quote(),
        confirm="Resume subscription",
        submit=BillingState.confirm_pause,
    )


def invoice_dialog() -> rx.Component:
    invoice_row = BillingState.invoice
    links = rx.el.div(
        rx.cond(invoice_row.pdf_url != "", external_link("Download", invoice_row.pdf_url, glyph="download")),
        rx.cond(invoice_row.page_url != "", external_link("View online", invoice_row.page_url)),
        rx.el.span(class_name="grow"),
        rx.dialog.close(button("Close")),
        class_name="row",
    )
    return rx.dialog.root(
        rx.dialog.content(
            rx.el.div(
                rx.dialog.title("Invoice ", invoice_row.number),
                rx.dialog.description(local_time(invoice_row.at, "", "day"), " · ", invoice_row.status),
            ),
            lines_with_total("Total"),
            invoice_usage_list(),
            links,
            max_width="var(--dialog-wide)",
        ),
        open=BillingState.dialog == "invoice",
        on_open_change=BillingState.close_dialog,
    )


def details_dialog() -> rx.Component:
    details: Any = BillingState.details

    def line(label: str, name: str, **props: Any) -> rx.Component:
        control = text_input(name, default_value=details[name], max_length=MAX_LINE_LENGTH, **props)
        return dialog_field(label, control, id=name)

    def choice(label: str, name: str, options: Sequence[tuple[str, str]], *more: Any) -> rx.Component:
        control = rx.el.select(
            *[rx.el.option(option_label, value=value) for value, option_label in options],
            *more,
            name=name,
            class_name="input",
            default_value=details[name],
            custom_attrs={"id": name},
        )
        return dialog_field(label, control, id=name)

    country = BillingState.unlisted_country
    unlisted_option = rx.cond(country != "", rx.el.option(country, value=country))
    return billing_dialog(
        "details",
        "Billing details",
        "They appear on your invoices.",
        line("Name", "name"),
        line("Email", "email", type="email"),
        line("Address", "line1"),
        line("Address, second line", "line2"),
        line("Postal code", "postal_code"),
        line("City", "city"),
        line("State or region", "state"),
        choice("Country", "country", COUNTRY_CHOICES, unlisted_option),
        choice("Tax ID type", "tax_id_type", TAX_ID_CHOICES),
        line("Tax ID", "tax_id", placeholder="DE123456789"),
        rx.foreach(BillingState.other_tax_ids, lambda tax_id: small(tax_id)),
        confirm="Save",
        submit=BillingState.save_details,
    )


def billing_dialogs() -> rx.Component:
    return rx.fragment(
        order_dialog(),
        change_dialog(),
        cancel_dialog(),
        pause_dialog(),
        resume_dialog(),
        invoice_dialog(),
        details_dialog(),
    )
