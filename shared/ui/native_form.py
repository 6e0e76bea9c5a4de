"""A form that the browser sends itself. Reflex' own forms always prevent that."""

from typing import Any

import reflex as rx


class NativeForm(rx.el.Form):
    """A plain `<form method="post" action="…">`: for whatever sets a cookie or carries a file."""

    @classmethod
    def create(cls, *children: Any, **props: Any) -> rx.Component:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super(rx.el.Form, cls).create(*children, **props)
