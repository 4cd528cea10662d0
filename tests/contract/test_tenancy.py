"""Tenancy: every operation with the ids of another shop"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import ColumnElement, Table, select

from db import tables
from db.tables import Base
from tests.builders import Json, a_customer, a_lot, a_reward, a_shop
from tests.service import Service
from tests.shop import Shop

OWN_REWARD, THEIR_REWARD = "reward_ours", "reward_theirs"
Ids = dict[str, list[str]]


@dataclass(frozen=True)
class Request:
    """A request to an operation. `given`: parameter → id."""

    operation: Json
    method: str
    path: str
    given: dict[str, str]

    async def send(self, shop: Shop, given: dict[str, str]) -> httpx.Response:
        """Send the request with the shop's most powerful key. Other parameters have the document's examples."""
        values = self.given | given
        named = [one for one in self.operation.get("parameters", ()) if one["name"] in values]
        headers = {one["name"]: values[one["name"]] for one in named if one["in"] == "header"}
        path = self.path
        for one in named:
            if one["in"] == "path":
                path = path.replace(f"{{{one['name']}}}", values[one["name"]])
        return await shop.service.api.request(
            self.method,
            path,
            params={one["name"]: values[one["name"]] for one in named if one["in"] == "query"},
            headers={
                "Authorization": shop.admin_key,
                "Idempotency-Key": str(uuid4()),
                **headers,
                **_media_type(self.operation),
            },
            **_body(self.operation, values),
        )


def _body(operation: Json, values: dict[str, str]) -> dict[str, Any]:
    """The arguments that send the operation's example."""
    content = operation.get("requestBody", {}).get("content", {})
    if "application/jsonl" in content:
        return {"content": content["application/jsonl"]["example"]}
    return {"json": _filled(example_body(operation), values)}


def _media_type(operation: Json) -> dict[str, str]:
    content = operation.get("requestBody", {}).get("content", {})
    return {"Content-Type": "application/jsonl"} if "application/jsonl" in content else {}


def example_body(operation: Json) -> Any:
    content = operation.get("requestBody", {}).get("content", {})
    return content.get("application/json", {}).get("example")


def _filled(body: Any, values: dict[str, str]) -> Any:
    known = SUBSCRIPTION | values
    return body and {name: known.get(name, value) for name, value in body.items()}


@pytest.fixture
async def document(service: Service) -> Json:
    return (await service.api.get("/openapi.json")).json()


@pytest.fixture
async def ours(service: Service) -> Shop:
    return await service.open_shop(a_shop(a_customer(a_lot(1200)), rewards=[a_reward(OWN_REWARD)]))


@pytest.fixture
async def theirs(service: Service) -> Shop:
    """Another shop, with resources of every kind."""
    tier = {"id": "tier_theirs", "name": "Theirs", "points_required": 1}
    member = a_customer(a_lot(1200), last_name="Theirs", email=f"{uuid4().hex}@theirs.example")
    return await service.open_shop(
        a_shop(
            {**member, "vip_tier": tier["id"]},
            rewards=[a_reward(THEIR_REWARD, vip_tier=tier["id"])],
            vip_tiers=[tier],
            vendors=("shopify",),
        )
    )


async def ids_of(shop: Shop, reward: str) -> Ids:
    """Parameter → ids of the shop's resources."""
    purchased = (await shop.purchase(reward=reward)).json()["data"]["id"]
    await shop.service.wait_for_purchase(purchased)
    subscription = (await shop.send("POST", "/v1/webhook-subscriptions", SUBSCRIPTION)).json()["data"]["id"]
    customer = await shop.customer()
    people = [customer["shopify_customer_id"], customer["email"]]
    return {
        "reward_id": [reward],
        "entry_id": [purchased],
        "subscription_id": [subscription],
        "identifier": people,
        "customer_identifier": people,
        "filter[email]": people[1:],
        "filter[customer]": people,
        "filter[reward_id]": [reward],
        "X-Shopify-Shop-Domain": [shop.domain],
    }


UNKNOWN: Ids = {
    "reward_id": ["reward_unknown"],
    "entry_id": ["cr_00000000000000000000"],
    "subscription_id": ["whsub_00000000000000000000"],
    "identifier": ["1", "unknown@shopper.io"],
    "customer_identifier": ["1", "unknown@shopper.io"],
    "filter[email]": ["unknown@shopper.io"],
    "filter[customer]": ["1", "unknown@shopper.io"],
    "filter[reward_id]": ["reward_unknown"],
    "X-Shopify-Shop-Domain": ["unknown.myshopify.com"],
}

EMPTY = {"filter[email]": 200, "filter[customer]": 200, "filter[reward_id]": 200, "X-Shopify-Shop-Domain": 401}
"""Status for an unknown id where it is not 404: an empty list, and an unsigned webhook."""

# A subscription that gets no requests.
SUBSCRIPTION = {"url": "https://8.8.8.8/hooks", "events": ["points.earned"]}


def requests(document: Json, own: Ids) -> Iterator[tuple[Request, list[str]]]:
    """Every operation with our own ids, and the names of the parameters that are ids."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parameters = [one for one in operation.get("parameters", ()) if one["in"] == "path" or one["name"] in own]
            names = [one["name"] for one in parameters] + [
                name for name in example_body(operation) or () if name in own
            ]
            # KeyError: a new kind of id, to be added to `ids_of` and `UNKNOWN`.
            yield Request(operation, method, path, {name: own[name][0] for name in names}), names


async def rows_of(service: Service, shop: Shop) -> dict[str, list[str]]:
    """Table → rows of the shop."""
    shop_id = (await shop.row()).id
    async with service.store() as session:
        return {
            table.name: sorted(str(row) for row in await session.execute(select(table).where(_is_of(table, shop_id))))
            for table in Base.metadata.sorted_tables
        }


def _is_of(table: Table, shop_id: int) -> ColumnElement[bool]:
    if table is tables.Shop.__table__:
        return table.c.id == shop_id
    if "shop_id" in table.c:
        return table.c.shop_id == shop_id
    [reference, *_] = [key for key in table.foreign_keys if "shop_id" in key.column.table.c]
    return reference.parent.in_(select(reference.column).where(reference.column.table.c.shop_id == shop_id))


async def test_other_shops_resources_are_not_found(service: Service, document: Json, ours: Shop, theirs: Shop) -> None:
    own, their = await ids_of(ours, OWN_REWARD), await ids_of(theirs, THEIR_REWARD)
    before = await rows_of(service, theirs)
    tested: set[str] = set()

    for request, names in requests(document, own):
        for name in names:
            for their_id, unknown_id in zip(their[name], UNKNOWN[name], strict=True):
                answer = await request.send(ours, {name: their_id})
                unknown = await request.send(ours, {name: unknown_id})

                where = (request.operation["operationId"], name)
                assert answer.status_code == unknown.status_code == EMPTY.get(name, 404), where
                assert answer.text.replace(their_id, unknown_id) == unknown.text, where
                tested.add(name)

    assert tested == own.keys()
    assert await rows_of(service, theirs) == before
    assert {name for name, rows in before.items() if not rows} <= {
        *("stale_metafields", "refunds", "shopify_webhooks", "webhook_deliveries", "earnings", "failed_attempts"),
        *("orders", "order_codes", "reissues"),
    }


async def test_other_shops_are_never_shown_or_changed(
    service: Service, document: Json, ours: Shop, theirs: Shop
) -> None:
    own, their = await ids_of(ours, OWN_REWARD), await ids_of(theirs, THEIR_REWARD)
    before = await rows_of(service, theirs)
    secrets = {one for several in their.values() for one in several} | {"Theirs"}

    # Deletions come last.
    for request, _ in sorted(requests(document, own), key=lambda one: one[0].method == "delete"):
        answer = await request.send(ours, {})
        assert answer.is_success or request.path == "/webhooks/shopify", answer.text
        assert not [one for one in secrets if one in answer.text], request.path

    assert await rows_of(service, theirs) == before
