"""What the event middleware asks an app for. A process can hold one `rx.App` only, and tests of both apps share processes."""

from typing import Any

import reflex as rx


class AppPages(rx.App):
    """Answers for its load events as `rx.App` does, without registering itself as the app of this process."""

    def __init__(self, *load_events: Any) -> None:
        self.load_events = load_events

    def __post_init__(self) -> None: ...

    def get_load_events(self, path: str) -> list[Any]:
        return list(self.load_events)
