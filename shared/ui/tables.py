"""Tables and badges. Words left, numbers right in tabular figures, at most one quiet menu per row."""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from shared.ui.controls import icon, icon_button

TONES = {  # the whole vocabulary: a status not in this table has no badge
    "ok": ("Active", "Delivered", "Done", "Intact", "On for everyone", "Paid", "Verified"),
    "accent": ("Current", "New", "Running", "You"),
    "wait": ("Invited", "Open", "Pending", "Queued", "Unverified", "Waiting"),
    "warn": ("Expired", "Expires soon", "Near limit", "Operator", "Retrying", "Stale", "Test"),
    "bad": ("Broken", "Failed", "Killed", "Locked", "Not delivered", "Over limit", "Overdue", "Suspended"),
    "idle": (
        "Deactivated",
        "Deleted",
        "Disabled",
        "Off",
        "Removed",
        "Retired",
        "Revoked",
        "Void",
        "Written off",
    ),
}
TONE_BY_LABEL = {word: tone for tone, words in TONES.items() for word in words}


def badge(label: str | rx.Var[str], tone: str | rx.Var[str] | None = None) -> rx.Component:
    """For rows that come from state put `TONE[status]` into the row; a literal word finds its own."""
    return rx.el.span(
        label, class_name="badge", data_tone=TONE_BY_LABEL[str(label)] if tone is None else tone
    )


def avatar(initials: Any, *, square: bool = False, picture: Any = None) -> rx.Component:
    """Hidden from screen readers: the name is beside it. `picture`: an address, or "" for none."""
    shape = "square" if square else "round"
    letters = rx.el.span(initials, class_name="avatar", data_shape=shape, aria_hidden="true")
    if picture is None:
        return letters
    image = rx.el.img(src=picture, alt="", class_name="avatar", data_shape=shape, data_picture="true")
    return rx.cond(picture != "", image, letters)


def has_items(rows: Any) -> Any:
    """True for a var of a list with something in it."""
    return rows.length() > 0


def initials_of(name: str) -> str:
    words = name.split()
    return (words[0][:1] + (words[-1][:1] if len(words) > 1 else "")).upper() if words else "?"


def person_cell(name: Any, note: Any, initials: Any, small: Any = None) -> rx.Component:
    """The first cell of a row about a person. `small` repeats the hidden columns on a phone."""
    extra = [rx.el.span(small, class_name="small muted only-small")] if small is not None else []
    words = rx.el.div(
        rx.el.span(name, class_name="strong"), rx.el.span(note, class_name="small muted"), *extra
    )
    return rx.el.div(avatar(initials), words, class_name="person")


@dataclass(frozen=True)
class Column:
    label: str
    align_end: bool = False  # numbers and row menus
    hidden_on_phone: bool = False  # leaves at 760 px; its content moves into the first cell
    sort: str = ""
    width: str = ""
    centered: bool = False  # a mark in a matrix
    label_hidden: bool = False  # a column of buttons: the label is for screen readers only

    @property
    def width_style(self) -> dict[str, str]:
        return {"width": self.width} if self.width else {}

    @property
    def class_names(self) -> str:
        return " ".join(
            name
            for name, on in (("end", self.align_end), ("mid", self.centered), ("less", self.hidden_on_phone))
            if on
        )


def header_cell(column: Column, sorted_by: Any, descending: Any, on_sort: Any) -> rx.Component:
    if not column.sort or on_sort is None:
        label = rx.el.span(column.label, class_name="sr") if column.label_hidden else column.label
        return rx.el.th(label, scope="col", class_name=column.class_names, style=column.width_style)
    direction = rx.cond(sorted_by == column.sort, rx.cond(descending, "descending", "ascending"), "none")
    control = rx.el.button(
        column.label, icon("arrow-up"), class_name="sort", type="button", on_click=on_sort(column.sort)
    )
    return rx.el.th(
        control, scope="col", class_name=column.class_names, style=column.width_style, aria_sort=direction
    )


def table_row(columns: list[Column], *cells: Any) -> rx.Component:
    pairs = zip(columns, cells, strict=True)
    return rx.el.tr(
        *[
            rx.el.td(cell, class_name=f"{column.class_names} num" if column.align_end else column.class_names)
            for column, cell in pairs
        ]
    )


def data_table(
    caption: str,
    columns: list[Column],
    rows: rx.Component,
    *,
    footer: rx.Component | None = None,
    test_id: str = "",
    sorted_by: Any = "",
    descending: Any = False,
    on_sort: Any = None,
) -> rx.Component:
    """`caption` names it for get_by_role("table", name=…). No rows: `feedback.empty`, not an empty table."""
    head = rx.el.thead(rx.el.tr(*[header_cell(column, sorted_by, descending, on_sort) for column in columns]))
    table = rx.el.table(
        rx.el.caption(caption, class_name="sr"), head, rx.el.tbody(rows), data_testid=test_id or None
    )
    return rx.fragment(rx.el.div(table, class_name="scroll"), *([footer] if footer is not None else []))


def pager(
    text: Any,
    *,
    on_next: Any = None,
    on_previous: Any = None,
    has_next: Any = None,
    has_previous: Any = None,
    labels: tuple[str, str] = ("Newer", "Older"),
) -> rx.Component:
    """The footer of a table: `text`, and arrows to the previous and next page where there is one.

    With `on_next`, `has_next` and `has_previous` are vars. `labels`: of the previous and the next page.
    """
    arrows: list[rx.Component] = []
    if on_next is not None:
        steps = (
            icon_button(
                labels[0], "chevron-left", on_click=on_previous, disabled=~has_previous, data_testid="newer"
            ),
            icon_button(
                labels[1], "chevron-right", on_click=on_next, disabled=~has_next, data_testid="older"
            ),
        )
        arrows = [rx.cond(has_next | has_previous, rx.fragment(*steps))]
    return rx.el.div(rx.el.span(text, class_name="grow num", aria_live="polite"), *arrows, class_name="foot")
