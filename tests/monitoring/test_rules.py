"""Alert rules and dashboards of `deploy/monitoring`."""

import re
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from services.samples import SAMPLED_EVERY
from tests.monitoring.files import (
    ALERTS,
    CONFIG,
    DASHBOARDS,
    MONITORING,
    ROOT,
    RULES,
    expressions,
    needs_prometheus,
)
from tests.test_compose import SERVICES

SUSPECTED_AFTER = timedelta(seconds=15)
"""A worker is found dead after three missed heartbeats."""
_UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(duration: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([smh])", duration or "0s").groups()  # pyright: ignore[reportOptionalMemberAccess]
    return int(number) * _UNITS[unit]


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_the_configuration_is_valid() -> None:
    promtool("check", "config", "prometheus.yml")


@needs_prometheus
def test_rules_fire_as_they_should() -> None:
    promtool("test", "rules", "rules_test.yml")


@pytest.mark.parametrize("name", ["PointsagaInvariantBroken", "PointsagaNoWorker", "PointsagaVendorRefusing"])
def test_it_fires_within_two_minutes(name: str) -> None:
    intervals = seconds(CONFIG["global"]["scrape_interval"]) + seconds(CONFIG["global"]["evaluation_interval"])
    seen_after = SAMPLED_EVERY + SUSPECTED_AFTER
    if name == "PointsagaVendorRefusing":
        # Its counters are not sampled. At a steady rate of calls a fifth of two minutes is rejected after 24 s.
        seen_after = timedelta(seconds=24)

    assert seen_after.total_seconds() + intervals + seconds(ALERTS[name].get("for", "0s")) <= 120


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_leads_to_the_documentation(name: str) -> None:
    path, anchor = ALERTS[name]["annotations"]["runbook"].split("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)

    assert path == "docs/operations.md"
    assert anchor in map(slug, headings)
    assert f"| `{name}` |" in (ROOT / "docs" / "metrics.md").read_text()
    assert ALERTS[name]["labels"]["severity"] in ("page", "ticket")


def test_every_alert_has_a_test() -> None:
    tested = re.findall(r"alertname: (\w+)", (MONITORING / "rules_test.yml").read_text())

    assert set(tested) == set(ALERTS)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_reads_the_provisioned_source(name: str) -> None:
    dashboard = DASHBOARDS[name]
    source = (MONITORING / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text()

    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {"prometheus"}
    assert "uid: prometheus" in source
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@needs_prometheus
def test_dashboards_have_valid_queries(tmp_path: Path) -> None:
    queries = [query for dashboard in DASHBOARDS.values() for query in expressions(dashboard)]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    # JSON is YAML.
    file.write_text(str({"groups": [{"name": "dashboards", "rules": rules}]}))

    promtool("check", "rules", str(file))


def test_prometheus_finds_each_process() -> None:
    targets = {
        job["dns_sd_configs"][0]["names"][0]: job["dns_sd_configs"][0]["port"] for job in CONFIG["scrape_configs"]
    }

    assert targets == {
        name: int(SERVICES[name]["environment"]["METRICS_ADDRESS"].rpartition(":")[2]) for name in ("api", "worker")
    }


@pytest.mark.parametrize("name", ["api", "worker"])
def test_metrics_are_not_published(name: str) -> None:
    assert not any("9464" in port for port in SERVICES[name].get("ports", []))


def test_recorded_ratios_differ_in_their_window_only() -> None:
    ratios = {rule["record"]: rule["expr"] for rule in RULES if ":ratio_" in rule.get("record", "")}

    assert len({expression.replace(name.rpartition("_")[2], "") for name, expression in ratios.items()}) == 1
