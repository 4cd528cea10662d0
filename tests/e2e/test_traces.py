"""A purchase as a trace, received as a collector receives it."""

import json
import re
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.builders import ALL_VENDORS, a_customer, a_lot, a_shop
from tests.e2e.deployment import COST, Deployment, api_process
from tests.faults import VendorFault
from tests.receiver import Receiver, listening
from tests.waiting import wait_until

# What every purchase consists of, besides its statements.
EXPECTED = {
    "POST /v1/rewards/{reward_id}/purchase",
    "StartUpdateWithStartWorkflow:RedeemReward",
    "RunWorkflow:RedeemReward",
    "HandleUpdate:answer",
    "StartActivity:reserve_points",
    "RunActivity:reserve_points",
    "StartActivity:generate_discount_code",
    "RunActivity:generate_discount_code",
    "Shopify discountCodeBasicCreate",
    "StartActivity:deliver_all",
    "RunActivity:deliver_all",
    "Klaviyo event",
    "Omnisend event",
    "Postscript event",
    "Shopify metafieldsSet",
}


@dataclass
class Collector:
    """The spans that were received."""

    receiver: Receiver
    endpoint: str = field(init=False)

    def __post_init__(self) -> None:
        self.endpoint = f"http://127.0.0.1:{self.receiver.port}"

    @property
    def spans(self) -> list[Span]:
        requests = [ExportTraceServiceRequest.FromString(one.body) for one in self.receiver.received]
        scopes = [scope for one in requests for resource in one.resource_spans for scope in resource.scope_spans]
        return [span for scope in scopes for span in scope.spans]

    def trace_of(self, redemption: str) -> list[Span]:
        """All spans of the trace that begins with the purchase's request."""
        roots = [one for one in self.spans if not one.parent_span_id and attributes(one).get(REDEMPTION) == redemption]
        return [one for one in self.spans if roots and one.trace_id == roots[0].trace_id]


REDEMPTION = "pointsaga.redemption_id"


def attributes(span: Span) -> dict[str, str]:
    return {one.key: one.value.string_value or str(one.value.int_value) for one in span.attributes}


@pytest.fixture
async def collector() -> AsyncGenerator[Collector]:
    async with listening() as receiver:
        yield Collector(receiver)


async def test_a_purchase_is_one_trace(deployment: Deployment, collector: Collector) -> None:
    customer = a_customer(a_lot(2 * COST))
    document = a_shop(customer)
    shop = await deployment.open_shop(document)
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "LOG_FORMAT": "json"}
    worker = await deployment.start_worker(traced)
    api, http = await deployment.programs.enter_async_context(api_process(deployment.stack, traced))
    await deployment.inject("klaviyo", VendorFault.UNAUTHORIZED)

    bought = (await shop.purchase(customer=customer["email"], api=http)).json()["data"]
    await shop.wait_for_delivery("klaviyo", "failed")
    email = customer["email"]
    await http.get(f"/v1/customers/{email}?email={email}", headers={"Authorization": shop.read_key})
    words = ("skip", bought["id"], "--channel", "klaviyo", "--reason", "gone", "--yes")
    await deployment.stack.run("skip", sys.executable, "-m", "cli", *words)
    await deployment.ended(shop)

    async def is_complete() -> bool:
        found = collector.trace_of(bought["id"])
        return {one.name for one in found} >= EXPECTED and len(without_parent(found)) == 1

    await wait_until(is_complete)
    spans = collector.trace_of(bought["id"])
    assert [one.name for one in without_parent(spans)] == ["POST /v1/rewards/{reward_id}/purchase"]
    assert [one.name for one in spans].count("RunWorkflow:RedeemReward") == 1
    statements = [one for one in spans if "db.query.text" in attributes(one)]
    parents = {one.span_id: one.name for one in spans}
    assert {"RunActivity:reserve_points", "RunActivity:generate_discount_code", "RunActivity:deliver_all"} <= {
        parents[one.parent_span_id] for one in statements
    }
    assert [one.name for one in collector.spans if not one.parent_span_id and "db.query.text" in attributes(one)] == []
    received = b"".join(one.body for one in collector.receiver.received)
    tokens = [value for vendor in ALL_VENDORS for value in document[vendor].values()]
    code = bought["attributes"]["discount_code"]
    private = [customer["email"], customer["phone"], "Jane", code, *tokens]
    assert [one for one in private if one.encode() in received] == []

    trace_id = spans[0].trace_id.hex()
    of_trace = [line for program in (api, worker) for line in lines(program.output) if line.get("trace_id") == trace_id]
    logged = {line["event"]: line for line in of_trace}
    for event in ("request", "vendor rejected the shop's configuration"):
        ids = (logged[event]["redemption_id"], logged[event]["workflow_id"])
        assert ids == (bought["id"], f"redemption-{bought['id']}-1")


def without_parent(spans: list[Span]) -> list[Span]:
    """The spans whose parent is not among them."""
    ids = {one.span_id for one in spans}
    return [one for one in spans if one.parent_span_id not in ids]


def lines(log: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in log.splitlines() if re.match(r"\{", line)]
