"""What `deploy/monitoring` says: names, alerts, dashboards."""

import json
import re
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
CONFIG: Json = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
RULES: list[Json] = [
    rule for group in yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
DASHBOARDS: dict[str, Json] = {
    path.stem: json.loads(path.read_text()) for path in sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
}

_NAME = re.compile(r"\b(?:pointsaga|temporal|process)[:_][a-z0-9_:]+")
_SERIES = re.compile(r"^([a-z_:]+)(?:\{|\s)", re.MULTILINE)

needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="no prometheus and promtool on the PATH (Debian: apt-get install prometheus)",
)


def expressions(dashboard: Json) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def queried_names() -> set[str]:
    """Names of the series in dashboards and rules, without those that rules record."""
    queries = chain((rule["expr"] for rule in RULES), *map(expressions, DASHBOARDS.values()))
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    return {name for query in queries for name in _NAME.findall(query)} - recorded


def series_names(scrape: str) -> set[str]:
    """Names of the series of a scrape."""
    return set(_SERIES.findall(scrape))


def metric_types(scrape: str) -> dict[str, str]:
    """Metric → type, as a scrape declares them. Counters as they are queried, with `_total`."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", scrape, re.MULTILINE))


def documented() -> dict[str, list[str]]:
    """Metric → the other columns of its row in docs/metrics.md."""
    rows = re.findall(
        r"^\| `((?:pointsaga|process|temporal)_[a-z_]+)` \|(.+)\|$",
        (ROOT / "docs" / "metrics.md").read_text(),
        re.MULTILINE,
    )
    return {name: [column.strip() for column in rest.split("|")] for name, rest in rows}
