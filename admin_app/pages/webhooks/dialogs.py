"""The dialogs of /webhooks."""

import reflex as rx

from admin_app.pages.webhooks.state import WebhooksState
from shared.ui.controls import dialog_field
from shared.ui.dialogs import OPERATOR_AUDIT_HINT, form_dialog, reason_field


def webhook_dialogs() -> rx.Component:
    state = WebhooksState
    type_options = rx.foreach(state.type_choices, lambda option: rx.el.option(option[1], value=option[0]))
    type_select = rx.el.select(
        type_options, name="type", class_name="input", custom_attrs={"id": "replay-type"}
    )
    replay = form_dialog(
        state,
        "replay",
        "Replay dead letters",
        "Syncs each customer again. Correct data isn’t changed.",
        dialog_field("Type", type_select, id="replay-type", name="type"),
        reason_field("replay", OPERATOR_AUDIT_HINT),
        confirm="Replay",
        submit=state.replay_dead,
    )
    resume = form_dialog(
        state,
        "resume",
        rx.fragment("Resume ", state.account),
        "Stripe rejected its key. Change the key first, or it will be paused again.",
        reason_field("resume", OPERATOR_AUDIT_HINT),
        confirm="Resume",
        submit=state.resume_account,
    )
    return rx.fragment(replay, resume)
