"""The buttons in the header of a tenant's page."""

import reflex as rx

from admin_app import labels
from admin_app.pages.tenant.state import TenantPageState
from admin_app.shell import guard_control
from shared.access import actions
from shared.tenancy.models import TenantState
from shared.ui.controls import button
from shared.ui.dialogs import dialog_opener


def suspend_or_restore_button() -> rx.Component:
    suspend = button(
        "Suspend",
        kind="danger",
        glyph="ban",
        **dialog_opener(TenantPageState, "suspend"),
        data_testid="suspend",
    )
    restore = button(
        "Restore",
        kind="primary",
        glyph="undo-2",
        **dialog_opener(TenantPageState, "restore"),
        data_testid="restore",
    )
    control = rx.cond(TenantPageState.header.suspended, restore, suspend)
    is_deleted = TenantPageState.header.state == labels.TENANT_STATE_LABELS[TenantState.DELETED]
    shown = guard_control(actions.OP_TENANT_SUSPEND, control, "Suspend", glyph="ban")
    return rx.cond(TenantPageState.loaded & ~is_deleted, shown)


def delete_button() -> rx.Component:
    delete = button(
        "Delete",
        kind="danger",
        glyph="trash-2",
        **dialog_opener(TenantPageState, "delete"),
        data_testid="delete",
    )
    header = TenantPageState.header
    is_deleted = header.state == labels.TENANT_STATE_LABELS[TenantState.DELETED]
    is_shown = (
        TenantPageState.loaded & ~is_deleted & (header.deletion_at == "") & (header.live_tenant_id == "")
    )
    return rx.cond(is_shown, guard_control(actions.OP_TENANT_DELETE, delete, "Delete", glyph="trash-2"))
