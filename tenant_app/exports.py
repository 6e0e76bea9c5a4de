"""Export buttons. A download is an HTTP response, so each is a plain form."""

import reflex as rx

from shared.access.actions import Action
from shared.ui.controls import button
from shared.ui.native_form import NativeForm
from tenant_app.shell import Shell, guard_control


def export_button(action: Action, name: str, *fields: rx.Component) -> rx.Component:
    """`name`: of the list, as in its address. `fields`: hidden inputs with the filter of the page."""
    label = "Export CSV"
    form = NativeForm.create(
        *fields,
        button(label, type="submit", glyph="download"),
        method="post",
        action=f"/t/{Shell.slug}/{name}.csv",
        data_download="",
        data_testid=f"export-{name}",
    )
    return guard_control(action, form, label, glyph="download")
