"""The frame of every page: rail, banners, head, content; on a phone a top bar, a tab bar and a sheet."""

from dataclasses import dataclass
from typing import Any

import reflex as rx
from reflex_components_core.react_router.dom import ReactRouterLink

from shared.ui.banners import connection_notice, decision_reference, error_state, refusal_notice
from shared.ui.controls import button, icon
from shared.ui.menus import MenuContext, organisation_switcher, sign_out_form, user_menu
from shared.ui.panels import panel
from shared.ui.upsell import upsell_panel


@dataclass(frozen=True)
class NavLink:
    """A page of the navigation. `href` and `count` may be vars; `visible` hides a page that the role can't open."""

    label: str
    href: Any
    glyph: str
    in_tab_bar: bool = False  # four of them make the tab bar of a phone
    count: Any = ""
    visible: Any = True
    locked: Any = False  # shown, but not in the plan


def link(label: Any, href: Any, **props: Any) -> rx.Component:
    return ReactRouterLink.create(label, to=href, class_name=props.pop("class_name", "link"), **props)


def nav_link(item: NavLink, current: str) -> rx.Component:
    current_attrs: dict[str, Any] = {"aria_current": "page"} if item.label == current else {}
    count = rx.cond(item.count != "", rx.el.span(item.count, class_name="count"))
    lock = [] if item.locked is False else [rx.cond(item.locked, _lock_icon())]
    nav_item = ReactRouterLink.create(
        icon(item.glyph), item.label, count, *lock, to=item.href, class_name="navlink", **current_attrs
    )
    return nav_item if item.visible is True else rx.cond(item.visible, nav_item)


def _lock_icon() -> rx.Component:
    return rx.el.span(icon("lock"), rx.el.span(" (not in your plan)", class_name="sr"), class_name="locked")


def nav_groups(nav: dict[str, list[NavLink]], current: str) -> list[rx.Component]:
    def group(name: str, items: list[NavLink]) -> rx.Component:
        title = [rx.el.h2(name)] if name else []
        return rx.el.div(*title, *[nav_link(item, current) for item in items])

    return [group(name, items) for name, items in nav.items()]


def tab_bar(nav: dict[str, list[NavLink]], current: str) -> rx.Component:
    tabs = [item for items in nav.values() for item in items if item.in_tab_bar]

    def tab(item: NavLink) -> rx.Component:
        current_attrs: dict[str, Any] = {"aria_current": "page"} if item.label == current else {}
        tab_link = ReactRouterLink.create(
            icon(item.glyph), item.label, to=item.href, class_name="tab", **current_attrs
        )
        return tab_link if item.visible is True else rx.cond(item.visible, tab_link)

    more = rx.el.button(icon("menu"), "More", class_name="tab", type="button")
    sheet = rx.dialog.content(
        rx.dialog.title("All pages", class_name="sr"),
        rx.dialog.close(rx.el.div(*nav_groups(nav, current), class_name="sheet-links")),
        aria_describedby=None,
        class_name="sheet",
    )
    return rx.el.nav(
        *[tab(item) for item in tabs[:4]],
        rx.dialog.root(rx.dialog.trigger(more), sheet),
        class_name="tabbar",
        aria_label="Main",
    )


def page_header(
    title: Any,
    *,
    description: Any = "",
    actions: list[rx.Component] | None = None,
    breadcrumbs: rx.Component | None = None,
    badges: Any = None,
) -> rx.Component:
    heading = rx.el.div(rx.el.h1(title), *([badges] if badges is not None else []), class_name="title")
    words = rx.el.div(
        *([breadcrumbs] if breadcrumbs is not None else []),
        heading,
        *([rx.el.div(description, class_name="meta")] if description else []),
    )
    return rx.el.div(words, rx.el.div(*(actions or []), class_name="actions"), class_name="head")


def page_frame(
    heading: rx.Component,
    *children: rx.Component,
    nav: dict[str, list[NavLink]],
    current: str,
    menu_context: MenuContext,
    banner: rx.Component | None = None,
    admission: Any,
    retry: Any = None,
    upsell_action: rx.Component | None = None,
) -> rx.Component:
    """`banner`: the one thing about the account that matters now. `retry`: the page's own load.

    `admission`: `authorize.Admission`; its refusal or error replaces the content.
    `upsell_action`: shown on a page that is not in the plan.
    """
    stage = rx.el.div(
        _top_bar(menu_context),
        *([banner] if banner is not None else []),
        rx.el.main(
            _page_content(
                heading,
                *children,
                current=current,
                admission=admission,
                retry=retry,
                upsell_action=upsell_action,
            ),
            id="content",
            tab_index=-1,
        ),
        class_name="stage",
    )
    return rx.el.div(
        rx.el.a("Skip to content", href="#content", class_name="skip btn"),
        sign_out_form(),
        _side_bar(nav, current, menu_context),
        stage,
        tab_bar(nav, current),
        connection_notice(),
        class_name="frame",
    )


def _side_bar(nav: dict[str, list[NavLink]], current: str, menu_context: MenuContext) -> rx.Component:
    return rx.el.aside(
        organisation_switcher(menu_context),
        rx.el.nav(*nav_groups(nav, current), aria_label="Main"),
        user_menu(menu_context),
        class_name="rail",
        aria_label="Bulkhead",
    )


def _top_bar(menu_context: MenuContext) -> rx.Component:
    return rx.el.header(
        rx.el.div(organisation_switcher(menu_context), class_name="grow"),
        user_menu(menu_context),
        class_name="topbar",
    )


def _page_content(
    heading: rx.Component,
    *children: rx.Component,
    current: str,
    admission: Any,
    retry: Any,
    upsell_action: rx.Component | None,
) -> rx.Component:
    """The page, or why it is not shown."""
    home_link = rx.el.a("Go to Home", href="/", class_name="btn")
    reference = decision_reference(admission.decision_id, admission.request_id)
    upsell = upsell_panel(admission.refusal, admission.upsell, upsell_action)
    notice = refusal_notice(admission.refusal, admission.next_step, home_link, reference)
    refused = rx.fragment(
        page_header(current),
        rx.cond(admission.upsell.feature != "", rx.fragment(upsell, reference), panel(notice, name=current)),
    )
    retry_button = button("Try again", glyph="rotate-cw", **({} if retry is None else {"on_click": retry}))
    broken = error_state(
        "This page could not be loaded",
        "Nothing was changed. If this keeps happening, contact support with this reference.",
        admission.error_id,
        retry_button,
    )
    failed = rx.fragment(page_header(current), panel(broken, name=current))
    page = rx.cond(admission.error_id != "", failed, rx.fragment(heading, *children))
    return rx.cond(admission.refusal != "", refused, page)
