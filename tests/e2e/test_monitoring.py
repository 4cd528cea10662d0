"""Metrics, dashboards and alerts of a running deployment."""

import re
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import text

from local_stack import ports
from local_stack.ports import LOOPBACK
from local_stack.supervisor import Part
from tests.builders import a_customer, a_lot, a_shop
from tests.e2e.deployment import COST, Deployment, Program, api_process
from tests.faults import VendorFault
from tests.monitoring.files import (
    CONFIG,
    MONITORING,
    documented,
    metric_types,
    needs_prometheus,
    queried_names,
    series_names,
)
from tests.shop import Shop
from tests.waiting import wait_for, wait_until

Json = dict[str, Any]

TWO_MINUTES = 120
CUSTOMERS = 6


@dataclass(kw_only=True)
class Monitored:
    """An API and a worker with metrics, by job, and a shop."""

    deployment: Deployment
    api: httpx.AsyncClient
    worker: Program
    ports: dict[str, int]
    shop: Shop

    async def buy(self, customer: int) -> None:
        answer = await self.shop.purchase(customer=self.shop.customers[customer], api=self.api)
        assert answer.status_code == 201
        await self.deployment.wait_for_purchase(answer.json()["data"]["id"])

    async def scrape(self) -> str:
        """The metrics of both processes."""
        async with httpx.AsyncClient(trust_env=False) as http:
            answers = [await http.get(f"http://{LOOPBACK}:{port}/metrics") for port in self.ports.values()]
        return "".join(answer.raise_for_status().text for answer in answers)

    async def execute(self, statement: str) -> None:
        async with self.deployment.store.begin() as session:
            await session.execute(text(statement), {"customer": self.shop.customers[0]})


@pytest.fixture
async def monitored(deployment: Deployment) -> Monitored:
    jobs = dict(zip([job["job_name"] for job in CONFIG["scrape_configs"]], ports.free(2), strict=True))
    api, worker = ({"METRICS_ADDRESS": f"{LOOPBACK}:{port}"} for port in jobs.values())
    started = await deployment.start_worker(worker)
    _, client = await deployment.programs.enter_async_context(api_process(deployment.stack, api))
    shop = await deployment.open_shop(a_shop(*(a_customer(a_lot(COST)) for _ in range(CUSTOMERS))))
    return Monitored(deployment=deployment, api=client, worker=started, ports=jobs, shop=shop)


async def test_a_scrape_has_what_is_queried_and_documented(monitored: Monitored) -> None:
    await monitored.buy(0)

    async def has_all_that_is_queried() -> bool:
        return queried_names() <= series_names(await monitored.scrape())

    # Samples come a moment after the start.
    await wait_until(has_all_that_is_queried)
    scrape, listed = await monitored.scrape(), documented()
    types = metric_types(scrape)
    assert {name: listed.get(name, ["undocumented"])[0] for name in types} == types
    # Those of the SDK appear with their first event.
    assert {name for name in listed if not name.startswith("temporal_")} <= set(types)
    # No label names a shop, a customer or a redemption.
    assert not any(one in scrape for one in (monitored.shop.domain, *monitored.shop.customers, "cr_"))


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """A Prometheus that scrapes every second, with the rules of production."""

    url: str

    async def has_seen(self, query: str) -> bool:
        """Whether the query has a result."""
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"{self.url}/api/v1/query", params={"query": query})
        return bool(answer.raise_for_status().json()["data"]["result"])

    async def firing(self, alert: str) -> bool:
        async with httpx.AsyncClient(trust_env=False) as http:
            alerts = (await http.get(f"{self.url}/api/v1/alerts")).raise_for_status().json()["data"]["alerts"]
        return any(one["labels"]["alertname"] == alert and one["state"] == "firing" for one in alerts)


@asynccontextmanager
async def a_prometheus(home: Path, jobs: dict[str, int]) -> AsyncGenerator[Prometheus]:
    """Run Prometheus. Its rules have the expressions of production; an alert waits for 2 s at most."""
    [port] = ports.free(1)
    scrapes = [
        {"job_name": job, "static_configs": [{"targets": [f"{LOOPBACK}:{target}"]}]} for job, target in jobs.items()
    ]
    intervals = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config = {**CONFIG, "global": intervals, "scrape_configs": scrapes}
    (home / "prometheus.yml").write_text(yaml.safe_dump(config))
    (home / "rules.yml").write_text(re.sub(r"for: \w+", "for: 2s", (MONITORING / "rules.yml").read_text()))
    url = f"http://{LOOPBACK}:{port}"
    part = Part(
        name="prometheus",
        command=(
            "prometheus",
            f"--config.file={home / 'prometheus.yml'}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address={LOOPBACK}:{port}",
        ),
        env={},
        ready=partial(_is_ready, url),
    )
    async with Program.running(part, home):
        yield Prometheus(url=url)


async def _is_ready(url: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            return (await http.get(f"{url}/-/ready")).is_success
        except httpx.TransportError:
            return False


@needs_prometheus
async def test_each_trouble_is_an_alert_within_two_minutes(monitored: Monitored, tmp_path: Path) -> None:
    async with a_prometheus(tmp_path, monitored.ports) as prometheus:
        await monitored.buy(0)
        # An increase needs an earlier scrape.
        await wait_until(
            lambda: prometheus.has_seen('pointsaga_vendor_calls_total{vendor="klaviyo", outcome="ok"} > 0')
        )
        began = time.monotonic()
        await monitored.deployment.inject("klaviyo", VendorFault.UNAUTHORIZED, times=None)
        await monitored.execute("UPDATE customers SET points = points + 1 WHERE id = :customer")
        try:
            for customer in range(1, CUSTOMERS):
                answer = await monitored.shop.purchase(customer=monitored.shop.customers[customer], api=monitored.api)
                assert answer.status_code == 201
            await wait_until(lambda: prometheus.firing("PointsagaVendorRefusing"), seconds=TWO_MINUTES)
            await wait_until(lambda: prometheus.firing("PointsagaInvariantBroken"), seconds=TWO_MINUTES)
            assert time.monotonic() - began < TWO_MINUTES
        finally:
            await monitored.execute("UPDATE customers SET points = points - 1 WHERE id = :customer")

        # After another test's worker died young, this one counts from its second heartbeat.
        await wait_for(lambda: prometheus.firing("PointsagaNoWorker"), expected=False)
        await monitored.worker.end(signal.SIGKILL)
        await wait_until(lambda: prometheus.firing("PointsagaNoWorker"), seconds=TWO_MINUTES)
