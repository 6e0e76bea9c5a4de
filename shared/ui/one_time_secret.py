"""A secret that is shown once, such as a new API key.

It reaches the browser as an event and is in no var: a reload sends every var again. `assets/look.js` keeps it until its
element is gone.
"""

import json
from typing import Any

import reflex as rx
from reflex.event import EventSpec


class OneTimeSecret(rx.el.Span):
    """The secret with a copy button, or `gone` where the page was loaded again."""

    tag, alias = "bksecret", "bk-secret"  # see `banners.LocalTime`
    noun: rx.Var[str]
    gone: rx.Var[str]


def one_time_secret(noun: str, *, gone: str) -> rx.Component:
    """`noun`: what the secret is, as in "key". `gone`: what to do once it can't be shown."""
    return OneTimeSecret.create(noun=noun, gone=gone, class_name="secret", data_testid="secret")


def send_secret(secret: str) -> EventSpec:
    """For the answer of a handler that opens the dialog with a `one_time_secret`."""
    detail: Any = json.dumps({"detail": secret})
    return rx.call_script(f"document.dispatchEvent(new CustomEvent('bk-secret', {detail}))")
