"""The frame around every page of the operators. Dark rail, amber accent, "Operator" always in sight."""

from typing import Any

import reflex as rx

from admin_app.nav import NAV
from admin_app.shell import Shell, TroubleRow
from shared.ui import shell
from shared.ui.admission import Admission
from shared.ui.banners import banner as notice
from shared.ui.banners import local_time, test_mode_banner
from shared.ui.menus import MenuContext

MENU_CONTEXT = MenuContext("Bulkhead", "Operator", Shell.user, Shell.role, Shell.initials, is_operator=True)


def page(
    heading: rx.Component,
    *children: rx.Component,
    current: str,
    load: Any,
    banner: rx.Component | None = None,
) -> rx.Component:
    return shell.page_frame(
        heading,
        *children,
        nav=NAV,
        current=current,
        menu_context=MENU_CONTEXT,
        banner=rx.fragment(
            test_mode_banner(Shell.test_mode),
            *([banner] if banner is not None else []),
            rx.foreach(Shell.troubles, provider_trouble_banner),
        ),
        admission=Admission,
        retry=load,
    )


def provider_trouble_banner(account_trouble: TroubleRow) -> rx.Component:
    """A banner on every page while a payment account has a problem."""
    webhooks_link = shell.link("Webhooks", "/webhooks", class_name="link")
    prices_link = shell.link("Prices", "/prices", class_name="link")
    paused_text = rx.fragment(
        rx.el.b(account_trouble.account, " is paused. "),
        account_trouble.detail,
        ", since ",
        local_time(account_trouble.since, "", "moment"),
        ". Webhooks are stored; nothing is synced until you change its key and resume it.",
    )
    silent_text = rx.fragment(
        rx.el.b("Stripe isn’t responding. "),
        "Webhooks of ",
        account_trouble.account,
        " have been waiting since ",
        local_time(account_trouble.since, "", "moment"),
        ". Customers keep their current access; waiting webhooks are processed when Stripe responds.",
    )
    price_text = rx.fragment(
        rx.el.b("Prices differ from Stripe. "),
        account_trouble.account,
        ": ",
        rx.cond(account_trouble.detail == "1", "1 price was", f"{account_trouble.detail} prices were"),
        " changed or archived in Stripe. Customers may be unable to buy. Push our prices to restore them.",
    )
    signature_text = rx.fragment(
        rx.el.b("Webhooks are rejected. "),
        "Their signatures don’t match the secret of ",
        account_trouble.account,
        ", last ",
        local_time(account_trouble.since, "", "moment"),
        ", and no valid webhook arrived in the hour before. Compare the secret with Stripe: if the endpoint there shows the"
        " same one, they came from elsewhere and no action is needed.",
    )
    return rx.fragment(
        rx.match(
            account_trouble.kind,
            ("paused", notice(paused_text, action=webhooks_link, tone="bad", glyph="plug-zap")),
            ("prices", notice(price_text, action=prices_link, tone="bad", glyph="scale")),
            ("signatures", notice(signature_text, action=webhooks_link, tone="bad", glyph="plug-zap")),
            notice(silent_text, action=webhooks_link, tone="warn", glyph="plug-zap"),
        )
    )
