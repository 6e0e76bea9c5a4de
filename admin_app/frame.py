"""The frame around every page of the operators. Dark rail, amber accent, "Operator" always in sight."""

from typing import Any

import reflex as rx

from admin_app.nav import NAV
from admin_app.shell import Shell
from shared.ui import shell
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
        banner=banner,
        admission=Admission,
        retry=load,
    )
