"""The two menus of the frame: where one is, and who one is."""

from dataclasses import dataclass
from typing import Any

import reflex as rx
from reflex.style import set_color_mode

from shared.ui.controls import icon, menu
from shared.ui.native_form import NativeForm
from shared.ui.tables import avatar

SIGN_OUT_FORM_ID = "sign-out"  # id of the form that the menu item submits


@dataclass(frozen=True)
class OrganisationLink:
    """A row of the switcher."""

    name: str
    role: str
    letter: str
    href: str
    is_current: bool


@dataclass(frozen=True)
class MenuContext:
    """Where one is and who one is. Words, or vars of a state; "" until the page's load has answered."""

    name: Any
    subtitle: Any  # plan, or "Operator"
    user: Any
    role: Any
    initials: Any
    letter: Any = ""
    picture: Any = None
    organisations: Any = ()  # of Elsewhere
    is_operator: bool = False


def logo() -> rx.Component:
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


def organisation_switcher(context: MenuContext) -> rx.Component:
    """Switching is a full page load (the socket belongs to the page), hence plain links."""
    if context.is_operator:
        return rx.el.div(
            rx.el.span(logo(), "Bulkhead", class_name="row"),
            rx.el.span("Operator", class_name="mark"),
            class_name="brandline",
        )
    words = rx.el.span(
        rx.el.span(context.name, class_name="strong"),
        rx.el.span(context.subtitle, class_name="small"),
        class_name="who",
    )
    trigger = rx.el.button(
        avatar(context.letter, square=True, picture=context.picture),
        words,
        icon("chevrons-up-down"),
        rx.el.span("Switch organisation", class_name="sr"),
        class_name="switcher",
        type="button",
        data_testid="switcher",
    )

    def other(organisation: Any) -> rx.Component:
        return rx.menu.item(
            rx.el.a(
                avatar(organisation.letter, square=True),
                rx.el.span(organisation.name, class_name="cut"),
                rx.el.span(organisation.role, class_name="end"),
                rx.cond(organisation.is_current, icon("check")),
                href=organisation.href,
            ),
            as_child=True,
        )

    new = rx.menu.item(rx.el.a(icon("plus"), "New organisation", href="/organisations"), as_child=True)
    return menu(trigger, rx.foreach(context.organisations, other), rx.menu.separator(), new)


def user_menu(context: MenuContext) -> rx.Component:
    words = rx.el.span(
        rx.el.span(context.user, class_name="strong"),
        rx.el.span(context.role, class_name="small"),
        class_name="who",
    )
    trigger = rx.el.button(
        avatar(context.initials),
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
        icon("log-out"), "Sign out", type="button", data_submits=SIGN_OUT_FORM_ID, class_name="plain"
    )
    return menu(
        trigger,
        rx.menu.item(account, as_child=True),
        rx.menu.separator(),
        rx.menu.item(icon("sun"), "Light", on_select=set_color_mode("light")),
        rx.menu.item(icon("moon"), "Dark", on_select=set_color_mode("dark")),
        rx.menu.item(icon("monitor"), "System", on_select=set_color_mode("system")),
        rx.menu.separator(),
        rx.menu.item(leave, as_child=True),
    )


def sign_out_form() -> rx.Component:
    """Outside of the menu, which is gone before a form in it could be sent (assets/look.js submits it)."""
    return NativeForm.create(id=SIGN_OUT_FORM_ID, method="post", action="/auth/sign-out", hidden=True)
