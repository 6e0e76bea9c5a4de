"""What a tenant's page says above its tabs: that it is suspended, and that it is a test tenant."""

import reflex as rx

from admin_app import labels
from admin_app.pages.tenant.state import TenantPageState
from admin_app.shell import guard_control
from shared.access import actions
from shared.tenancy.models import TenantState
from shared.ui.banners import banner, local_time
from shared.ui.controls import button
from shared.ui.dialogs import dialog_opener
from shared.ui.shell import link


def tenant_banners() -> rx.Component:
    return rx.fragment(_suspension_banner(), _deletion_banner(), _test_banner())


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


def _deletion_banner() -> rx.Component:
    header = TenantPageState.header
    keep = button("Cancel deletion", **dialog_opener(TenantPageState, "keep"), data_testid="keep")
    text = rx.fragment(
        rx.el.b("Will be deleted on ", local_time(header.deletion_at, "", "day"), ". "),
        "Its owners can cancel it unless an operator scheduled it.",
    )
    action = guard_control(actions.OP_TENANT_KEEP, keep, "Cancel deletion")
    is_deleted = header.state == labels.TENANT_STATE_LABELS[TenantState.DELETED]
    scheduled = banner(text, action=action, tone="bad", glyph="calendar-x")
    deleted = banner(
        rx.fragment(rx.el.b("Deleted. "), "Its members can’t open it. Its data will be erased."),
        tone="bad",
        glyph="trash-2",
    )
    return rx.cond(is_deleted, deleted, rx.cond(header.deletion_at != "", scheduled))
