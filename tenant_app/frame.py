"""The frame around every page of a tenant."""

from typing import Any

import reflex as rx

from shared.ui import shell
from shared.ui.gate import Admission
from shared.ui.menus import Place
from tenant_app.nav import NAV
from tenant_app.shell import Shell

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
    )
    return rx.fragment(rx.el.style(Shell.brand), framed)
