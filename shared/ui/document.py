"""What every page of both apps has around it: font, icon, script, toasts, errors."""

from collections.abc import Callable

import reflex as rx
from reflex.app import default_error_boundary

_FONT = {"as": "font", "type": "font/woff2", "crossOrigin": "anonymous"}


def head_components() -> list[rx.Component]:
    return [
        rx.el.link(rel="icon", href="/favicon.svg", type="image/svg+xml"),
        rx.el.link(rel="preload", href="/fonts/inter.woff2", custom_attrs=_FONT),
        rx.el.script(src="/look.js", defer=True),
    ]


def app_wraps() -> dict[tuple[int, str], Callable[[bool], rx.Component | None]]:
    """Reflex' own without its notice of a lost connection, which shows internal addresses: `bk-connection` replaces it."""
    return {(55, "ErrorBoundary"): lambda _: default_error_boundary()}


def toaster() -> rx.Component:
    return rx.toast.provider(
        position="bottom-right", rich_colors=False, close_button=True, expand=False, visible_toasts=3
    )
