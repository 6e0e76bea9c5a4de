"""The frame around every page of a tenant."""

from typing import Any

import reflex as rx

from shared.access import actions
from shared.ui import shell
from shared.ui.feedback import banner, when
from shared.ui.gate import Admission
from shared.ui.menus import Place
from shared.ui.shell import link
from tenant_app.nav import NAV, href
from tenant_app.shell import Shell, may, within

PLACE = Place(
    Shell.tenant,
    Shell.plan,
    Shell.user,
    Shell.role,
    Shell.initials,
    letter=Shell.letter,
    picture=Shell.picture,
    others=Shell.places,
)


def notice(current: str) -> rx.Component:
    """At most one, over every page: what about plan and bill matters now, and the one button that helps."""
    one: Any = Shell.notice
    said = rx.fragment(
        rx.el.b(one.said),
        " ",
        one.then,
        rx.cond(one.day != "", rx.fragment(" ", when(one.day, "", "day"), ".")),
        " ",
        one.step,
    )
    look = rx.cond(
        within(actions.ACCESS_READ), link("What you may use now", href("access"), class_name="btn")
    )
    pay = rx.fragment() if current == "Billing" else link("Open billing", href("billing"), class_name="btn")
    more = rx.cond(within(actions.BILLING_CHANGE), pay, look)
    calm = banner(said, action=more, glyph="hourglass")
    warning = banner(said, action=more, tone=one.tone, glyph="triangle-alert")
    return rx.cond(one.said != "", rx.cond(one.tone == "accent", calm, warning))


def page(
    heading: rx.Component,
    *children: rx.Component,
    current: str,
    load: Any,
) -> rx.Component:
    framed = shell.frame(
        heading,
        *children,
        nav=NAV,
        current=current,
        place=PLACE,
        banner=notice(current),
        admission=Admission,
        retry=load,
        offered=rx.cond(
            within(actions.BILLING_CHANGE),
            link("See plans and prices", href("billing"), class_name="btn", data_kind="primary"),
            rx.cond(
                may(actions.ACCESS_READ),
                link("What your organisation may use now", href("access"), class_name="link small"),
            ),
        ),
    )
    return rx.fragment(rx.el.style(Shell.brand), framed)
