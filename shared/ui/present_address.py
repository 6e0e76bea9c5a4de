"""For members whose page has a former slug of their tenant, or its id instead of a slug."""

import json

import reflex as rx
from reflex.event import EventSpec
from reflex.state import BaseState


def open_present_address(state: BaseState, slug: str, present_slug: str) -> EventSpec:
    """A full page load of the same page at the present address."""
    url = state.router.url
    path = f"/t/{present_slug}{url.path.removeprefix(f'/t/{slug}')}"
    target = f"{path}?{url.query}" if url.query else path
    return rx.call_script(f"window.location.replace({json.dumps(target)})")
