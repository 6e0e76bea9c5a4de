"""The two menus of the frame: where one is, and who one is."""

from dataclasses import dataclass
from typing import Any

import reflex as rx
from reflex.style import set_color_mode

from shared.ui.form import icon, menu
from shared.ui.native import NativeForm
from shared.ui.table import avatar

SIGN_OUT = "sign-out"  # id of the form that the menu item submits


@dataclass(frozen=True)
class Elsewhere:
    """A row of the switcher."""

    name: str
    role: str
    letter: str
    href: str
    here: bool


@dataclass(frozen=True)
class Place:
    """Where one is and who one is. Words, or vars of a state; "" until the page's load has answered."""

    name: Any
    said: Any  # plan, or "Operator"
    user: Any
    role: Any
    initials: Any
    letter: Any = ""
    picture: Any = None
    others: Any = ()  # of Elsewhere
    operator: bool = False


def mark() -> rx.Component:
    """Three compartments of a hull."""
    frame = rx.el.svg.rect(
        x="2.75",
        y="4.75",
        width="18.5",
        height="14.5",
        rx="3",
        fill="none",
        stroke="currentColor",
        stroke_width="1.5",
    )
    walls = rx.el.svg.path(d="M9 5v14M15 5v14", stroke="currentColor", stroke_width="1.5")
    return rx.el.svg(frame, walls, view_box="0 0 24 24", width="22", height="22", aria_hidden=True)


def switcher(place: Place) -> rx.Component:
    """Switching is a full page load (the socket belongs to the page), hence plain links."""
    if place.operator:
        return rx.el.div(
            rx.el.span(mark(), "Bulkhead", class_name="row"),
            rx.el.span("Operator", class_name="mark"),
            class_name="brandline",
        )
    words = rx.el.span(
        rx.el.span(place.name, class_name="strong"),
        rx.el.span(place.said, class_name="small"),
        class_name="who",
    )
    trigger = rx.el.button(
        avatar(place.letter, square=True, picture=place.picture),
        words,
        icon("chevrons-up-down"),
        rx.el.span("Switch organisation", class_name="sr"),
        class_name="switcher",
        type="button",
        data_testid="switcher",
    )

    def other(one: Any) -> rx.Component:
        return rx.menu.item(
            rx.el.a(
                avatar(one.letter, square=True),
                rx.el.span(one.name, class_name="cut"),
                rx.el.span(one.role, class_name="end"),
                rx.cond(one.here, icon("check")),
                href=one.href,
            ),
            as_child=True,
        )

    new = rx.menu.item(rx.el.a(icon("plus"), "New organisation", href="/organisations"), as_child=True)
    return menu(trigger, rx.foreach(place.others, other), rx.menu.separator(), new)


def user_menu(place: Place) -> rx.Component:
    words = rx.el.span(
        rx.el.span(place.user, class_name="strong"),
        rx.el.span(place.role, class_name="small"),
        class_name="who",
    )
    trigger = rx.el.button(
        avatar(place.initials),
        words,
        icon("ellipsis"),
        rx.el.span("Account menu", class_name="sr"),
        class_name="switcher",
        data_only="face",
        type="button",
        data_testid="account-menu",
    )
    account = rx.el.a(icon("user-round"), "Profile and security", href="/account")
    leave = rx.el.button(
        icon("log-out"), "Sign out", type="button", data_submits=SIGN_OUT, class_name="plain"
    )
    return menu(
        trigger,
        rx.menu.item(account, as_child=True),
        rx.menu.separator(),
        rx.menu.item(icon("sun"), "Light", on_select=set_color_mode("light")),
        rx.menu.item(icon("moon"), "Dark", on_select=set_color_mode("dark")),
        rx.menu.item(icon("monitor"), "As the device", on_select=set_color_mode("system")),
        rx.menu.separator(),
        rx.menu.item(leave, as_child=True),
    )


def sign_out_form() -> rx.Component:
    """Outside of the menu, which is gone before a form in it could be sent (assets/look.js submits it)."""
    return NativeForm.create(id=SIGN_OUT, method="post", action="/auth/sign-out", hidden=True)
