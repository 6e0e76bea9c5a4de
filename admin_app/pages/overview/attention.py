"""The figures of the overview that call for a look. Each is a link to the list of the tenants that it counts."""

from dataclasses import dataclass

import reflex as rx

from admin_app.attention import ATTENTION_LABELS, attention_url
from shared.backoffice.attention import AttentionCounts
from shared.backoffice.attention_kinds import Attention
from shared.ui.panels import stat_grid
from shared.ui.shell import link


@dataclass(frozen=True, kw_only=True)
class AttentionRow:
    label: str
    count: str
    href: str
    note: str


def attention_rows(counts: AttentionCounts) -> list[AttentionRow]:
    rows = [
        AttentionRow(
            label=ATTENTION_LABELS[attention],
            count=f"{counts.tenants.get(attention, 0):,}",
            href=attention_url(attention),
            note="Show them",
        )
        for attention in Attention
    ]
    names = [f"{dimension.value} {name}" for dimension, name in counts.failing_cohorts]
    cohorts = AttentionRow(
        label="Failing cohorts",
        count=f"{len(names):,}",
        href="/health",
        note=", ".join(names[:3]) or "Open health",
    )
    return [*rows, cohorts]


def attention_stats(rows: rx.Var[list[AttentionRow]] | list[AttentionRow]) -> rx.Component:
    def figure(row: AttentionRow) -> rx.Component:
        return rx.el.div(
            rx.el.h2(row.label, class_name="label"),
            rx.el.p(
                link(row.count, row.href, class_name="plain-link", aria_label=row.label), class_name="figure"
            ),
            link(row.note, row.href, class_name="link small"),
            class_name="stat",
        )

    return rx.el.div(stat_grid(rx.foreach(rows, figure), columns=3), data_testid="attention")
