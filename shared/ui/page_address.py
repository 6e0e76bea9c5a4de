"""Filters of a page in its address, so that a page can be reloaded and shared."""

import json
from collections.abc import Mapping
from urllib.parse import urlencode

import reflex as rx
from reflex.event import EventSpec


def set_query(filters: Mapping[str, str]) -> EventSpec:
    """Writes the filters into the address without loading the page. Empty ones are left out."""
    query = urlencode({name: value for name, value in filters.items() if value})
    return rx.call_script(f"window.history.replaceState(window.history.state, '', {json.dumps('?' + query)})")
