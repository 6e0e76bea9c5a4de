"""What a tenant's page says above its tabs: that it is suspended, and that it is a test tenant."""

import reflex as rx

from admin_app.pages.tenant.state import TenantPageState
from shared.ui.banners import banner
from shared.ui.shell import link


def tenant_banners() -> rx.Component:
    return rx.fragment(_suspension_banner(), _test_banner())


def _suspension_banner() -> rx.Component:
    header = TenantPageState.header
    message = rx.cond(
        header.suspension_message != "", rx.fragment(" Members read: ", header.suspension_message)
    )
    text = rx.fragment(rx.el.b("Suspended. "), header.reason, message)
    return rx.cond(header.suspended, banner(text, tone="bad", glyph="ban"))


def _test_banner() -> rx.Component:
    live_tenant_id = TenantPageState.header.live_tenant_id
    text = rx.fragment(rx.el.b("Test data. "), "Members, plan and bill are those of the live tenant.")
    live_link = link("Open the live tenant", f"/tenants/{live_tenant_id}", class_name="btn")
    return rx.cond(live_tenant_id != "", banner(text, action=live_link, glyph="flask-conical"))
