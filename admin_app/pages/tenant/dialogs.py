"""The dialogs of a tenant's page."""

from typing import Any

import reflex as rx

from admin_app.pages.tenant.state import TenantPageState
from shared.backoffice.tenant_directory import MAX_MESSAGE_LENGTH
from shared.offboarding.deletions import GRACE_DAYS, MAX_GRACE_DAYS, MIN_GRACE_DAYS
from shared.ui.controls import dialog_field, text_input
from shared.ui.dialogs import confirm_field, form_dialog, reason_field


def tenant_dialog(
    name: str, title: Any, sentence: Any, *children: rx.Component, **props: Any
) -> rx.Component:
    return form_dialog(
        TenantPageState,
        name,
        title,
        sentence,
        *children,
        **props,
    )


def tenant_dialogs() -> rx.Component:
    """Suspend or restore the tenant, and retry its unfinished provisioning."""
    name = TenantPageState.header.name
    message = text_input(
        "message",
        required=True,
        max_length=MAX_MESSAGE_LENGTH,
        auto_complete="off",
        placeholder="Payments for this organisation are disputed.",
    )
    suspend = tenant_dialog(
        "suspend",
        f"Suspend {name}",
        "Members can’t open it and its jobs stop. Takes effect immediately; no data is deleted.",
        dialog_field(
            "Message to members", message, id="message", hint="Members read it instead of their pages."
        ),
        reason_field("suspend"),
        confirm_field("suspend", name),
        confirm="Suspend",
        submit=TenantPageState.suspend_tenant,
        kind="danger-fill",
    )
    restore = tenant_dialog(
        "restore",
        f"Restore {name}",
        "Members can sign in again with their previous roles.",
        reason_field("restore"),
        confirm_field("restore", name),
        confirm="Restore",
        submit=TenantPageState.restore_tenant,
    )
    resume = tenant_dialog(
        "resume",
        "Retry unfinished steps",
        "Completed steps aren’t repeated.",
        reason_field("resume"),
        confirm="Retry",
        submit=TenantPageState.resume_provisioning,
    )
    return rx.fragment(suspend, restore, resume, _delete_dialog(name), _keep_dialog(name))


def _delete_dialog(name: Any) -> rx.Component:
    days = text_input(
        "grace_days",
        type="number",
        required=True,
        default_value=str(GRACE_DAYS),
        min=MIN_GRACE_DAYS,
        max=MAX_GRACE_DAYS,
    )
    return tenant_dialog(
        "delete",
        f"Delete {name}",
        "Everything works until the grace period is over. Then all members lose access, and its data is erased. Its owners get"
        " an email and read the reason.",
        dialog_field("Grace period in days", days, id="grace_days"),
        reason_field("delete"),
        confirm_field("delete", name),
        confirm="Schedule deletion",
        submit=TenantPageState.delete_tenant,
        kind="danger-fill",
    )


def _keep_dialog(name: Any) -> rx.Component:
    return tenant_dialog(
        "keep",
        "Cancel the deletion",
        f"{name} stays as it is.",
        reason_field("keep"),
        confirm="Cancel deletion",
        submit=TenantPageState.keep_tenant,
    )
