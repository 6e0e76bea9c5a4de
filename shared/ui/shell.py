"""The frame of every page: rail, banners, head, content; on a phone a top bar, a tab bar and a sheet."""

from dataclasses import dataclass
from typing import Any

import reflex as rx
from reflex_components_core.react_router.dom import ReactRouterLink

from shared.ui.feedback import closed, failure
from shared.ui.form import button, icon
from shared.ui.hull import hull
from shared.ui.menus import Place, sign_out_form, switcher, user_menu
from shared.ui.upsell import upsell


@dataclass(frozen=True)
class Link:
    """A page of the navigation. `href` and `count` may be vars; `shown` hides what one may not know of."""

    label: str
    href: Any
    glyph: str
    tab: bool = False  # four of them make the tab bar of a phone
    count: Any = ""
    shown: Any = True
    locked: Any = False  # shown, but not in the plan


def link(label: Any, href: Any, **props: Any) -> rx.Component:
    return ReactRouterLink.create(label, to=href, class_name=props.pop("class_name", "link"), **props)


def navlink(item: Link, current: str) -> rx.Component:
    here: dict[str, Any] = {"aria_current": "page"} if item.label == current else {}
    count = rx.cond(item.count != "", rx.el.span(item.count, class_name="count"))
    lock = [] if item.locked is False else [rx.cond(item.locked, _lock())]
    found = ReactRouterLink.create(
        icon(item.glyph), item.label, count, *lock, to=item.href, class_name="navlink", **here
    )
    return found if item.shown is True else rx.cond(item.shown, found)


def _lock() -> rx.Component:
    return rx.el.span(icon("lock"), rx.el.span(" (not in your plan)", class_name="sr"), class_name="locked")


def groups(nav: dict[str, list[Link]], current: str) -> list[rx.Component]:
    def group(name: str, items: list[Link]) -> rx.Component:
        title = [rx.el.h2(name)] if name else []
        return rx.el.div(*title, *[navlink(item, current) for item in items])

    return [group(name, items) for name, items in nav.items()]


def tab_bar(nav: dict[str, list[Link]], current: str) -> rx.Component:
    tabs = [item for items in nav.values() for item in items if item.tab]

    def tab(item: Link) -> rx.Component:
        here: dict[str, Any] = {"aria_current": "page"} if item.label == current else {}
        found = ReactRouterLink.create(icon(item.glyph), item.label, to=item.href, class_name="tab", **here)
        return found if item.shown is True else rx.cond(item.shown, found)

    more = rx.el.button(icon("menu"), "More", class_name="tab", type="button")
    sheet = rx.dialog.content(
        rx.dialog.title("All pages", class_name="sr"),
        rx.dialog.close(rx.el.div(*groups(nav, current), class_name="sheet-links")),
        aria_describedby=None,
        class_name="sheet",
    )
    return rx.el.nav(
        *[tab(item) for item in tabs[:4]],
        rx.dialog.root(rx.dialog.trigger(more), sheet),
        class_name="tabbar",
        aria_label="Main",
    )


def head(
    title: Any,
    *,
    said: Any = "",
    actions: list[rx.Component] | None = None,
    above: rx.Component | None = None,
    beside: Any = None,
) -> rx.Component:
    heading = rx.el.div(rx.el.h1(title), *([beside] if beside is not None else []), class_name="title")
    words = rx.el.div(
        *([above] if above is not None else []),
        heading,
        *([rx.el.div(said, class_name="meta")] if said else []),
    )
    return rx.el.div(words, rx.el.div(*(actions or []), class_name="actions"), class_name="head")


def frame(
    heading: rx.Component,
    *children: rx.Component,
    nav: dict[str, list[Link]],
    current: str,
    place: Place,
    banner: rx.Component | None = None,
    admission: Any,
    retry: Any = None,
    offered: rx.Component | None = None,
) -> rx.Component:
    """`banner`: the one thing about the account that matters now. `retry`: the page's own load.

    `admission`: `gate.Admission`, which may say that this page is refused or failed, in place of the content.
    `offered`: where to go from a page that is not in the plan.
    """
    rail = rx.el.aside(
        switcher(place),
        rx.el.nav(*groups(nav, current), aria_label="Main"),
        user_menu(place),
        class_name="rail",
        aria_label="Bulkhead",
    )
    top = rx.el.header(rx.el.div(switcher(place), class_name="grow"), user_menu(place), class_name="topbar")
    elsewhere = rx.el.a("Open another page", href="/", class_name="btn")
    again = button("Try again", glyph="rotate-cw", **({} if retry is None else {"on_click": retry}))
    broken = failure(
        "This page could not be loaded",
        "Nothing was changed. Try again; if it happens twice, send us the request number.",
        admission.broken,
        again,
    )
    content = rx.cond(
        admission.refused != "",
        rx.fragment(
            head(current),
            rx.cond(
                admission.offer.feature != "",
                upsell(admission.refused, admission.offer, offered),
                hull(closed(admission.refused, admission.next_step, elsewhere), name=current),
            ),
        ),
        rx.cond(
            admission.broken != "",
            rx.fragment(head(current), hull(broken, name=current)),
            rx.fragment(heading, *children),
        ),
    )
    stage = rx.el.div(
        top,
        *([banner] if banner is not None else []),
        rx.el.main(content, id="content", tab_index=-1),
        class_name="stage",
    )
    return rx.el.div(
        rx.el.a("Skip to content", href="#content", class_name="skip btn"),
        sign_out_form(),
        rail,
        stage,
        tab_bar(nav, current),
        class_name="frame",
    )
