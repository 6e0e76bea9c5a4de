"""/t/[tenant]/audit: the audit log, with filter, export and verification. The address has the filter."""

import reflex as rx

from shared.access import actions
from shared.evidence.actions import AUDIT_STREAM_READ
from shared.ui.audit_list import action_choices, audit_filter_form, chain_status, event_list
from shared.ui.banners import empty_state, skeleton_rows
from shared.ui.controls import button, menu
from shared.ui.list_state import list_pager
from shared.ui.panels import panel, small
from shared.ui.shell import link, page_header
from shared.ui.tables import has_items
from tenant_app.exports import export_list, export_menu
from tenant_app.frame import page
from tenant_app.nav import page_href
from tenant_app.pages.audit.state import AuditState
from tenant_app.shell import guard_control, is_allowed


def audit_filter() -> rx.Component:
    return audit_filter_form(
        AuditState.filter_values,
        action_choices(),
        is_filtered=AuditState.filtered,
        on_apply=AuditState.apply_filter,
        on_clear=AuditState.clear_filter,
    )


def quick_links() -> rx.Component:
    """Filters that people ask for often. They are addresses, so they can be bookmarked."""
    return small(
        link("Visits by Bulkhead support", AuditState.looks_url, class_name="plain-link"),
        " · ",
        link("Refused and failed attempts", AuditState.denied_url, class_name="plain-link"),
        rx.cond(
            is_allowed(AUDIT_STREAM_READ),
            rx.fragment(
                " · ", link("Streams to a SIEM", page_href("settings/audit"), class_name="plain-link")
            ),
        ),
    )


def signed_export_menu() -> rx.Component:
    items = [
        rx.menu.item(label, on_select=AuditState.start_signed_export(export_format))
        for export_format, label in (("jsonl", "JSONL"), ("csv", "CSV"))
    ]
    trigger = button("Export signed", glyph="shield-check", data_testid="export-signed")
    return guard_control(
        actions.AUDIT_EXPORT, menu(trigger, *items), "Export signed", glyph="shield-check", id="export-signed"
    )


def events_panel() -> rx.Component:
    no_events = rx.cond(
        AuditState.filtered,
        empty_state("No events match", "Change the dates or clear a field.", glyph="search-x"),
        empty_state(
            "No activity yet",
            "Changes to invitations, roles and settings appear here.",
            glyph="scroll-text",
        ),
    )
    event_table = rx.el.div(event_list(AuditState.rows), list_pager(AuditState), class_name="hull-foot")
    content = rx.cond(has_items(AuditState.rows), event_table, panel(no_events, name="Events"))
    return rx.cond(AuditState.loaded, content, panel(skeleton_rows(6), name="Events"))


@rx.page(route="/t/[tenant]/audit", title="Audit log · Bulkhead", on_load=AuditState.load)
def audit_page() -> rx.Component:
    check = button(
        "Verify audit log",
        glyph="link",
        on_click=AuditState.verify_chain,
        data_once="true",
        data_testid="verify",
    )
    check_all = button(
        "Verify from the first event",
        kind="quiet",
        on_click=AuditState.verify_whole_chain,
        data_once="true",
        data_testid="verify-all",
    )
    chain = chain_status(
        chain_text=AuditState.chain_text,
        chain_at=AuditState.chain_at,
        tone=AuditState.verification_tone,
        badge_text=AuditState.verification_badge,
        text=AuditState.verification_text,
        verified_at=AuditState.verified_at,
    )
    return page(
        page_header(
            "Audit log",
            description="This log can’t be edited or deleted. Dates are in UTC.",
            actions=[
                export_menu(AuditState),
                signed_export_menu(),
                check,
            ],
        ),
        rx.el.div(
            audit_filter(),
            quick_links(),
            rx.cond(AuditState.loaded, rx.el.div(chain, check_all, class_name="row wrap")),
            class_name="section",
        ),
        export_list(AuditState),
        events_panel(),
        current="Audit log",
        load=AuditState.load,
    )
