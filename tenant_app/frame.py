"""The frame around every page of a tenant."""

from typing import Any

import reflex as rx

from shared.access import actions
from shared.ui import shell
from shared.ui.gate import Admission
from shared.ui.menus import Place
from shared.ui.shell import link
from tenant_app.nav import NAV, href
from tenant_app.shell import Shell, may

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


def page(
    heading: rx.Component,
    *children: rx.Component,
    current: str,
    load: Any,
    banner: rx.Component | None = None,
) -> rx.Component:
    framed = shell.frame(
        heading,
        *children,
        nav=NAV,
        current=current,
        place=PLACE,
        banner=banner,
        admission=Admission,
        retry=load,
        offered=rx.cond(
            may(actions.ACCESS_READ),
            link("What your organisation may use now", href("access"), class_name="link small"),
        ),
    )
    return rx.fragment(rx.el.style(Shell.brand), framed)
