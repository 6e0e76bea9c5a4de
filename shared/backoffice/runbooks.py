"""The runbooks of alerts, as text for a page. Their files are written for people who read them elsewhere too."""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from shared.access import actions, policy
from shared.backoffice.alerts.alert_catalog import ALERTS
from shared.core.context import OperatorCtx
from shared.core.errors import NotFound

FOLDER = Path(__file__).parents[2] / "docs" / "runbooks"
PARTS = ("What it means", "Check", "Fix")  # that every runbook has, in this order
LIST_ITEM = re.compile(r"(?:-|\d+\.) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunbookPart:
    title: str
    paragraphs: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)


def get_runbook(octx: OperatorCtx, alert_name: str) -> list[RunbookPart]:
    """Raises NotFound for an alert that does not exist."""
    policy.require_operator(octx, actions.OP_HEALTH_READ)
    if alert_name not in ALERTS:
        raise NotFound("This alert doesn’t exist.", "Choose one from the list.")
    return read_runbook(alert_name)


@cache
def read_runbook(alert_name: str) -> list[RunbookPart]:
    """`alert_name`: of the catalog."""
    parts: list[RunbookPart] = []
    for line in (FOLDER / f"{alert_name}.md").read_text().splitlines():
        if line.startswith("## "):
            parts.append(RunbookPart(title=line[3:]))
        elif not line or line.startswith("# ") or not parts:
            continue
        elif LIST_ITEM.match(line):
            parts[-1].steps.append(_to_plain(LIST_ITEM.sub("", line, count=1)))
        elif line.startswith("  ") and parts[-1].steps:
            parts[-1].steps[-1] += f" {_to_plain(line.strip())}"
        elif parts[-1].paragraphs:
            parts[-1].paragraphs[-1] += f" {_to_plain(line)}"
        else:
            parts[-1].paragraphs.append(_to_plain(line))
    return parts


def _to_plain(line: str) -> str:
    return line.replace("`", "").replace("**", "")
