"""What the product says about itself: banners, times, empty, loading, failed, not for you."""

from typing import Any

import reflex as rx

from shared.ui.controls import button, icon, icon_button
from shared.ui.native_form import NativeForm


class LocalTime(rx.el.Span):
    """In the reader's zone, exact on hover (assets/look.js). The text inside is UTC, until the script ran."""

    tag, alias = "bktime", "bk-time"  # a memo is named after the tag, and a hyphen is no part of a name
    datetime: rx.Var[str]
    shape: rx.Var[str]  # "day", "clock", "moment", "ago" or "left", which counts down


def local_time(iso: str | rx.Var[str], text: str | rx.Var[str], shape: str = "day") -> rx.Component:
    return LocalTime.create(text, datetime=iso, shape=shape)


class ConnectionNotice(rx.el.Span):
    """Says that the connection is lost or that the server is slow (assets/look.js); empty otherwise."""

    tag, alias = "bkconnection", "bk-connection"


def connection_notice() -> rx.Component:
    return ConnectionNotice.create(
        class_name="connection", role="status", aria_live="polite", data_testid="connection"
    )


def banner(
    text: Any,
    *,
    action: rx.Component | None = None,
    tone: Any = "accent",
    glyph: str = "info",
    test_id: str = "banner",
) -> rx.Component:
    words = rx.el.span(text, class_name="say")
    return rx.el.div(
        icon(glyph),
        words,
        *([action] if action is not None else []),
        class_name="banner",
        data_tone=tone,
        data_testid=test_id,
        role="status",
    )


def test_mode_banner(is_shown: Any) -> rx.Component:
    """Shown on every page while production runs with a test key."""
    text = rx.fragment(rx.el.b("Stripe test mode. "), "Only test cards pay, and no one is charged.")
    return rx.cond(is_shown, banner(text, tone="warn", glyph="flask-conical"))


def test_data_banner(is_shown: Any, live_link: rx.Component) -> rx.Component:
    """Shown on every page of a test tenant."""
    text = rx.fragment(rx.el.b("Test data. "), "Nothing here is billed or counted.")
    return rx.cond(is_shown, banner(text, action=live_link, tone="warn", glyph="flask-conical"))


def support_banner(person: Any, ends_at: Any, can_write: Any) -> rx.Component:
    """Shown to an operator who acts for a member, with the time that is left and the way out."""
    text = rx.fragment(
        rx.el.b("Support session. "),
        "You act as ",
        person,
        rx.cond(can_write, ". Changes are allowed. ", ", read only. "),
        local_time(ends_at, "", "left"),
        " left.",
    )
    end = NativeForm.create(
        button("End", type="submit", data_testid="end-support-session"),
        method="post",
        action="/auth/support/end",
    )
    return rx.cond(person != "", banner(text, action=end, tone="warn", glyph="life-buoy"))


def empty_state(
    title: str, description: str, action: rx.Component | None = None, glyph: str = "inbox"
) -> rx.Component:
    return rx.el.div(
        icon(glyph),
        rx.el.h3(title),
        rx.el.p(description),
        *([action] if action is not None else []),
        class_name="empty",
    )


def skeleton_block(width: str, height: str = "10px", **style: str) -> rx.Component:
    return rx.el.div(class_name="bone", style={"width": width, "height": height, **style})


def skeleton_rows(rows: int = 5) -> rx.Component:
    """As high as the rows that will replace it, so that nothing jumps."""
    words = rx.el.div(skeleton_block("42%"), skeleton_block("64%", "8px"), class_name="two")
    line = rx.el.li(
        skeleton_block("28px", "28px", borderRadius="50%"),
        words,
        skeleton_block("56px", "16px"),
        skeleton_block("24px"),
    )
    return rx.el.div(
        rx.el.span("Loading", class_name="sr", role="status"),
        rx.el.ul(*[line] * rows, class_name="list", aria_hidden="true"),
    )


def skeleton_text(lines: int = 3) -> rx.Component:
    widths = ("72%", "54%", "63%", "38%")
    bones = [skeleton_block(widths[line % 4], margin="6px 0") for line in range(lines)]
    status = rx.el.span("Loading", class_name="sr", role="status")
    return rx.el.div(status, rx.el.div(*bones, aria_hidden="true"), class_name="body")


def error_state(
    title: str, description: str, request_id: str | rx.Var[str], retry: rx.Component | None = None
) -> rx.Component:
    """Our fault: what did not happen, what to do, and the number that support can look up."""
    reference = rx.el.span(
        "Reference ", rx.el.code(request_id, class_name="mono"), class_name="small muted row"
    )
    copy = icon_button("Copy reference", "copy", on_click=rx.set_clipboard(request_id))
    return rx.el.div(
        icon("cloud-alert"),
        rx.el.h2(title),
        rx.el.p(description),
        *([retry] if retry is not None else []),
        rx.el.div(reference, copy, class_name="row"),
        class_name="empty",
        role="alert",
        data_testid="failure",
    )


def refusal_notice(
    detail: Any, next_step: Any, action: rx.Component, reference: rx.Component
) -> rx.Component:
    """In place of a page that this person can't open: what happened, and where to go instead."""
    return rx.el.div(
        icon("lock"),
        rx.el.h2(detail),
        rx.el.p(next_step),
        action,
        reference,
        class_name="empty",
        role="alert",
        data_testid="refusal",
    )


def decision_reference(decision_id: Any, request_id: Any) -> rx.Component:
    """The ids of a refusal, each with a button that copies it. Nothing where it was not recorded."""

    def part(text: str, id: Any, label: str) -> rx.Component:
        words = rx.el.span(text, rx.el.code(id, class_name="mono"), class_name="small muted cut-anywhere")
        return rx.el.span(words, icon_button(label, "copy", on_click=rx.set_clipboard(id)), class_name="row")

    parts = (
        part("Decision ", decision_id, "Copy decision ID"),
        part(" · Reference ", request_id, "Copy reference"),
    )
    return rx.cond(
        decision_id != "", rx.el.div(*parts, class_name="row wrap", data_testid="decision-reference")
    )
