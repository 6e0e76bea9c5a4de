"""The frame around every page of a tenant."""

from typing import Any

import reflex as rx

from shared.access import actions
from shared.offboarding.actions import DELETION_READ
from shared.ui import shell
from shared.ui.admission import Admission
from shared.ui.banners import banner, local_time, support_banner, test_data_banner, test_mode_banner
from shared.ui.menus import MenuContext
from shared.ui.shell import link
from tenant_app.nav import NAV, page_href
from tenant_app.shell import Shell, is_allowed, is_visible

MENU_CONTEXT = MenuContext(
    Shell.tenant,
    Shell.plan,
    Shell.user,
    Shell.role,
    Shell.initials,
    letter=Shell.letter,
    picture=Shell.logo_url,
    organisations=Shell.organisations,
)


def plan_notice(current: str) -> rx.Component:
    """At most one notice about plan or payment, with one button."""
    notice: Any = Shell.notice
    text = rx.fragment(
        rx.el.b(notice.text),
        " ",
        notice.detail,
        rx.cond(notice.end_date != "", rx.fragment(" ", local_time(notice.end_date, "", "day"), ".")),
        " ",
        notice.next_step,
    )
    access_link = rx.cond(
        is_visible(actions.ACCESS_READ), link("View plan and usage", page_href("access"), class_name="btn")
    )
    billing_link = (
        rx.fragment()
        if current == "Billing"
        else link("Open billing", page_href("billing"), class_name="btn")
    )
    action = rx.cond(is_visible(actions.BILLING_CHANGE), billing_link, access_link)
    info_banner = banner(text, action=action, glyph="hourglass")
    warning_banner = banner(text, action=action, tone=notice.tone, glyph="triangle-alert")
    return rx.cond(notice.text != "", rx.cond(notice.tone == "accent", info_banner, warning_banner))


def deletion_banner(current: str) -> rx.Component:
    text = rx.fragment(
        rx.el.b("This organisation will be deleted on ", local_time(Shell.deletion_at, "", "day"), "."),
        " Until then, an owner can cancel it.",
    )
    settings_link = (
        rx.fragment()
        if current == "Settings"
        else rx.cond(
            is_visible(DELETION_READ), link("Open settings", page_href("settings"), class_name="btn")
        )
    )
    is_shown = (Shell.deletion_at != "") & (Admission.refusal == "")  # which may say that it has been deleted
    return rx.cond(is_shown, banner(text, action=settings_link, tone="bad", glyph="calendar-x"))


def mail_problem_notice() -> rx.Component:
    """For a person whose address gets no more mail, on every page."""
    text = rx.cond(
        Shell.mail_problem == "hard_bounce",
        rx.fragment(
            rx.el.b("We can’t email you. "), "An email to your address bounced, so we’ve stopped sending."
        ),
        rx.fragment(
            rx.el.b("Most emails to you are off. "),
            "One was reported as spam, so we send only what is essential.",
        ),
    )
    action = rx.el.a("Confirm your address", href="/account", class_name="btn")
    return rx.cond(Shell.mail_problem != "", banner(text, action=action, tone="warn", glyph="mail-warning"))


def upsell_action() -> rx.Component:
    """The link beside what another plan would include."""
    return rx.cond(
        is_visible(actions.BILLING_CHANGE),
        link("See plans and prices", page_href("billing"), class_name="btn", data_kind="primary"),
        rx.cond(
            is_allowed(actions.ACCESS_READ),
            link("View plan and usage", page_href("access"), class_name="link small"),
        ),
    )


def page(
    heading: rx.Component,
    *children: rx.Component,
    current: str,
    load: Any,
) -> rx.Component:
    framed_page = shell.page_frame(
        heading,
        *children,
        nav=NAV,
        current=current,
        menu_context=MENU_CONTEXT,
        banner=rx.fragment(
            support_banner(Shell.support_person, Shell.support_ends_at, Shell.support_can_write),
            test_data_banner(
                Shell.live_tenant != "",
                link("Leave test mode", f"/t/{Shell.live_tenant}/home", class_name="btn"),
            ),
            test_mode_banner(Shell.test_mode),
            deletion_banner(current),
            rx.cond(
                Shell.throttle != "",
                banner(Shell.throttle, tone="warn", glyph="gauge", test_id="throttle"),
            ),
            mail_problem_notice(),
            plan_notice(current),
        ),
        admission=Admission,
        retry=load,
        upsell_action=upsell_action(),
    )
    return rx.fragment(rx.el.style(Shell.brand_css), framed_page)
