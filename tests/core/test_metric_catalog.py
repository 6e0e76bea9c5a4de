"""Metrics: all are in the catalog, labels are on an allow-list and have few values, and documents name nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from shared.backoffice.alerts.alert_catalog import ALERTS, Severity
from shared.core import metric_catalog, traffic
from shared.core.metric_catalog import CATALOG, LABELS, OTHER

DOCS = Path(__file__).parents[2] / "docs"
ALLOWED_LABELS = {
    *("app", "kind", "method", "status", "lane", "account", "outcome", "problem", "reason"),
    *("dimension", "cohort", "tenant", "alert", "severity"),
}
OFFICIAL_FUNCTIONS = {"le"}  # label of histograms
METRIC = re.compile(r"\bbulkhead_[a-z_]+")


def list_shown_names() -> set[str]:
    names = {metric.shown_name for metric in CATALOG.values()}
    return names | {f"{metric.name}_bucket" for metric in CATALOG.values() if metric.kind == "histogram"}


def test_labels_are_the_allowed_ones_and_bounded() -> None:
    assert LABELS.keys() == ALLOWED_LABELS
    assert {label for metric in CATALOG.values() for label in metric.labels} <= ALLOWED_LABELS
    assert [metric.name for metric in CATALOG.values() if "tenant" in metric.labels] == [
        "bulkhead_top_tenant_requests"
    ]
    assert all(label.values or label.max_values <= 100 for name, label in LABELS.items() if name != "tenant")


def test_every_metric_of_ours_is_in_the_catalog_with_its_labels() -> None:
    families = {family.name: family for family in REGISTRY.collect() if family.name.startswith("bulkhead_")}
    assert families.keys() == CATALOG.keys()
    for name, family in families.items():
        shown = {label for sample in family.samples for label in sample.labels}
        assert shown - OFFICIAL_FUNCTIONS <= set(CATALOG[name].labels), name


def test_metric_with_another_label_is_refused() -> None:
    with pytest.raises(ValueError, match="email"):
        metric_catalog.Metric("counter", "bulkhead_people", "By address", ("email",))


def test_value_that_a_label_does_not_list_counts_as_other() -> None:
    before = metric_catalog.requests.read("tenant", OTHER, OTHER, "2xx")
    metric_catalog.requests.add("tenant", "/t/acme/members", "BREW", "2xx")
    assert metric_catalog.requests.read("tenant", OTHER, OTHER, "2xx") == before + 1


def test_label_of_names_keeps_a_bounded_number_of_them() -> None:
    for number in range(LABELS["problem"].max_values + 20):
        metric_catalog.refused_frames.add(f"problem {number}")
    (family,) = [each for each in REGISTRY.collect() if each.name == "bulkhead_refused_frames"]
    values = {sample.labels["problem"] for sample in family.samples}
    assert len(values) <= LABELS["problem"].max_values + 1
    assert OTHER in values


def test_stored_minute_names_a_bounded_number_of_tenants() -> None:
    minute: traffic.Minute = {
        (traffic.Dimension.TENANT, f"ten_{number}"): traffic.Tally(requests=number, errors=number == 3)
        for number in range(1_000)
    }
    bounded = traffic._bound_minute(minute)
    assert len(bounded) == traffic.STORED_TENANTS + 1
    assert (traffic.Dimension.TENANT, "ten_3") in bounded  # few requests, but it failed
    assert sum(tally.requests for tally in bounded.values()) == sum(range(1_000))


def test_rules_for_prometheus_name_metrics_of_the_catalog_and_runbooks_that_exist() -> None:
    rules = yaml.safe_load((DOCS / "monitoring" / "rules.yml").read_text())["groups"][0]["rules"]
    severities = {severity.value for severity in Severity}
    for rule in rules:
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}, rule
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert set(METRIC.findall(rule["expr"])) <= list_shown_names(), rule["alert"]
        assert rule["labels"]["severity"] in severities
        runbook = rule["annotations"]["runbook"]
        assert "$labels.alert" in runbook or Path(runbook).stem in ALERTS


def test_dashboard_is_valid_and_names_metrics_of_the_catalog() -> None:
    dashboard: dict[str, Any] = json.loads((DOCS / "monitoring" / "dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) > 0
    used = {name for expression in expressions for name in METRIC.findall(expression)}
    assert used <= list_shown_names()
    assert len(used) == len(CATALOG)  # each metric is shown somewhere


def test_document_lists_every_metric_label_and_alert() -> None:
    page = (DOCS / "observability.md").read_text()
    for metric in CATALOG.values():
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
        assert f"| `{metric.shown_name}` | {metric.kind} | {labels} | {metric.description} |" in page
    for label in LABELS.values():
        assert f"| `{label.name}` | {label.description} |" in page
    for alert in ALERTS.values():
        assert f"| [{alert.title}](runbooks/{alert.name}.md) | {alert.owner} | {alert.severity} |" in page
