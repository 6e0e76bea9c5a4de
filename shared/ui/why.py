"""What a change was, before and after."""

from dataclasses import dataclass
from typing import Any

import reflex as rx


@dataclass(frozen=True)
class Change:
    name: str
    before: str
    after: str


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """Only what differs, in words. Both sides come from the trail, so any JSON may be in them."""
    names = sorted(before.keys() | after.keys())
    return [
        Change(name.replace("_", " ").capitalize(), _word(before.get(name)), _word(after.get(name)))
        for name in names
        if before.get(name) != after.get(name)
    ]


def _word(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_word(one) for one in value)
    return str(value)


def diff(shown: Any) -> rx.Component:
    """A list of `Change` or a var of one. An empty side says so, because a blank could be a bug."""

    def side(value: Any, tag: Any) -> rx.Component:
        return rx.el.dd(rx.cond(value != "", tag(value), rx.el.span("nothing", class_name="muted")))

    def line(change: Any) -> rx.Component:
        return rx.el.div(
            rx.el.dt(change.name), side(change.before, rx.el.del_), side(change.after, rx.el.ins)
        )

    return rx.el.dl(rx.foreach(shown, line), class_name="diff")
