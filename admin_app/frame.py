"""The frame around every page of the operators. Dark rail, amber accent, "Operator" always in sight."""

from typing import Any

import reflex as rx

from admin_app.nav import NAV
from admin_app.shell import Shell, TroubleRow
from shared.ui import shell
from shared.ui.feedback import banner as notice
from shared.ui.feedback import when
from shared.ui.gate import Admission
from shared.ui.menus import Place

PLACE = Place("Bulkhead", "Operator", Shell.user, Shell.role, Shell.initials, operator=True)


def page(
    heading: rx.Component,
    *children: rx.Component,
    current: str,
    load: Any,
    banner: rx.Component | None = None,
) -> rx.Component:
    return shell.frame(
        heading,
        *children,
        nav=NAV,
        current=current,
        place=PLACE,
        banner=rx.fragment(*([banner] if banner is not None else []), rx.foreach(Shell.troubles, trouble)),
        admission=Admission,
        retry=load,
    )


def trouble(one: TroubleRow) -> rx.Component:
    """On every page, because whoever is asked "why is my payment not there" has to know it at once."""
    action = shell.link("Webhooks", "/webhooks", class_name="link")
    paused = rx.fragment(
        rx.el.b(one.account, " is paused. "),
        one.said,
        ", since ",
        when(one.since, "", "moment"),
        ". What comes is kept; nothing is asked until somebody gives it another key and resumes it.",
    )
    silent = rx.fragment(
        rx.el.b("The payment provider does not answer. "),
        "Webhooks of ",
        one.account,
        " wait since ",
        when(one.since, "", "moment"),
        ". The product goes on with what is known; they are worked through when it answers.",
    )
    return notice(
        rx.cond(one.paused, paused, silent),
        action=action,
        tone=rx.cond(one.paused, "bad", "warn"),
        glyph="plug-zap",
    )
