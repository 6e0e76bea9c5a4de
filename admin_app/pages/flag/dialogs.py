"""The dialogs of a flag's page."""

from typing import Any

import reflex as rx

from admin_app.pages.flag.state import FlagPageState
from shared.ui.controls import dialog_field, icon, text_input
from shared.ui.dialogs import confirm_field, form_dialog, reason_field
from shared.ui.panels import small, text_with_note

REASON_HINT = "Shown in the flag’s history and the operator audit log."


def flag_dialog(name: str, title: Any, sentence: Any, *children: Any, **props: Any) -> rx.Component:
    return form_dialog(
        FlagPageState,
        name,
        title,
        sentence,
        *children,
        reason_field(name, REASON_HINT),
        **props,
    )


def impact_box() -> rx.Component:
    """A preview of the tenants that gain or lose the flag."""
    impact = FlagPageState.impact

    def side(count: Any, names: Any, tone: str) -> rx.Component:
        return rx.cond(
            count != "",
            rx.el.li(
                text_with_note(rx.el.span(count, class_name=tone), small(names, class_name="cut-anywhere"))
            ),
        )

    return rx.el.section(
        rx.el.div(
            rx.el.span("On for", class_name="label"),
            rx.el.p(
                impact.before,
                " ",
                icon("arrow-right"),
                " ",
                impact.after,
                " ",
                rx.el.small("of ", impact.total_text),
                class_name="figure row",
            ),
            class_name="body",
        ),
        rx.cond(
            impact.is_empty,
            rx.el.p("No tenant gains or loses it now.", class_name="body muted ruled"),
            rx.el.ul(
                side(impact.gains_text, impact.gained_names, "up"),
                side(impact.losses_text, impact.lost_names, "down"),
                class_name="list ruled",
            ),
        ),
        class_name="hull",
        aria_label="Impact",
        data_testid="effect",
    )


def flag_dialogs() -> rx.Component:
    header = FlagPageState.header
    killed_note = rx.cond(header.killed, " It stays killed; this is the effect of reviving it.", "")
    save = flag_dialog(
        "save",
        "Save these rules?",
        rx.fragment("Takes effect immediately.", killed_note),
        impact_box(),
        confirm="Save rules",
        submit=FlagPageState.save_rules,
        version=FlagPageState.draft_version,
    )
    kill = flag_dialog(
        "kill",
        f"Kill {header.title}",
        rx.fragment(
            "Switches it off immediately for all its tenants (",
            FlagPageState.metrics.exposed,
            "). Its rules are kept so that you can revive it.",
        ),
        confirm_field("kill", header.key),
        confirm="Kill",
        submit=FlagPageState.kill_flag,
        kind="danger-fill",
    )
    revive = flag_dialog(
        "revive",
        f"Revive {header.title}",
        "Its current rules apply. Impact:",
        impact_box(),
        confirm_field("revive", header.key),
        confirm="Revive",
        submit=FlagPageState.revive_flag,
        version=FlagPageState.version_number,
    )
    move = flag_dialog(
        "move",
        "Change the removal date",
        f"{header.owner} is responsible for it until then.",
        dialog_field(
            "Remove by",
            text_input("cleanup_by", type="date", required=True, default_value=header.cleanup_iso),
            id="cleanup_by",
        ),
        confirm="Change date",
        submit=FlagPageState.move_cleanup,
        version=header.row_version,
    )
    retire = flag_dialog(
        "retire",
        f"Retire {header.title}",
        "Permanent: it’s off for everyone and its key can’t be used again.",
        confirm_field("retire", header.key),
        confirm="Retire",
        submit=FlagPageState.retire_flag,
        kind="danger-fill",
    )
    return rx.fragment(save, kill, revive, move, retire)
