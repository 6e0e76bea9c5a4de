"""Panels: one bordered box whose parts are separated by hairlines."""

from typing import Any

import reflex as rx


def small(*words: Any, **props: Any) -> rx.Component:
    extra = props.pop("class_name", "")
    return rx.el.span(*words, class_name=f"small muted {extra}".strip(), **props)


def strong(*words: Any) -> rx.Component:
    return rx.el.span(*words, class_name="strong")


def code(text: str) -> rx.Component:
    return rx.el.code(text, class_name="mono muted")


def text_with_note(first: Any, second: Any) -> rx.Component:
    """A line with a note below it."""
    return rx.el.div(first, second, class_name="two")


def panel(
    *children: rx.Component, title: str = "", aside: Any = None, name: str = "", body: bool = False
) -> rx.Component:
    """With a title it has a bar; without one it needs a name for screen readers."""
    bar = [rx.el.div(rx.el.h2(title), aside, class_name="bar")] if isinstance(title, rx.Var) or title else []
    inside = [rx.el.div(*children, class_name="body")] if body else children
    return rx.el.section(*bar, *inside, class_name="hull", aria_label=name or title)


def section(title: str, box: rx.Component) -> rx.Component:
    return rx.el.div(rx.el.h2(title), box, class_name="section")


def stat_grid(*children: rx.Component, columns: int = 4, columns_on_phone: int = 2) -> rx.Component:
    return rx.el.div(
        *children, class_name="cells", style={"--n": str(columns), "--n-small": str(columns_on_phone)}
    )


def stat(label: str, value: Any, note: Any) -> rx.Component:
    return rx.el.div(
        rx.el.h2(label, class_name="label"),
        rx.el.p(value, class_name="strong num"),
        rx.el.p(note, class_name="small muted num"),
        class_name="stat",
    )


def item_list(*items: rx.Component, ordered: bool = False) -> rx.Component:
    return (rx.el.ol if ordered else rx.el.ul)(*items, class_name="list")
