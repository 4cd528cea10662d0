"""/v1/webhook-subscriptions"""

import asyncio
import re
from typing import Any

import pytest
from sqlalchemy import select

from db.shops import hold_shop
from db.tables import WebhookSubscription
from domain.subscriptions import SENT_EVENTS, WebhookEvent
from tests.api.support import code_of, error_of
from tests.builders import Json, a_customer, a_shop
from tests.service import Service
from tests.shop import Shop
from tests.waiting import locks_waited_for, wait_for

SUBSCRIPTIONS = "/v1/webhook-subscriptions"
# A public address that needs no DNS and gets no requests.
URL = "https://8.8.8.8/hooks"


@pytest.fixture
def service(without_temporal: Service) -> Service:
    """These tests run no workflow."""
    return without_temporal


async def created(shop: Shop, **changes: Any) -> Json:
    """A new subscription, with its secret."""
    body = {"url": URL, "events": ["points.redeemed"], **changes}
    answer = await shop.send("POST", SUBSCRIPTIONS, body)
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


async def test_a_new_subscription_has_its_secret_once(shop: Shop) -> None:
    answer = await shop.send(
        "POST", SUBSCRIPTIONS, {"url": URL, "events": ["points.redeemed", "points.refunded"], "description": "Our CRM"}
    )

    assert answer.status_code == 201
    data = answer.json()["data"]
    assert data["type"] == "webhook_subscription"
    assert re.fullmatch(r"whsub_[a-z0-9]{20}", data["id"])
    secret = data["attributes"].pop("secret")
    assert re.fullmatch(r"[0-9a-f]{64}", secret)
    assert data["attributes"].keys() == {"url", "events", "is_active", "description", "created_at", "updated_at"}
    assert data["attributes"]["events"] == ["points.redeemed", "points.refunded"]
    assert (data["attributes"]["is_active"], data["attributes"]["description"]) == (True, "Our CRM")
    assert (await shop.get(f"{SUBSCRIPTIONS}/{data['id']}")).json() == {"data": data}
    assert (await shop.get(SUBSCRIPTIONS)).json()["data"] == [data]


async def test_the_secret_is_encrypted_at_rest(service: Service, shop: Shop) -> None:
    secret = (await created(shop))["attributes"]["secret"]

    async with service.store() as session:
        [stored] = await session.scalars(select(WebhookSubscription.secret))
    assert secret.encode() not in stored


async def test_unsent_events_of_mage_are_accepted(shop: Shop) -> None:
    events = ["points.earned", "customer.tier_upgrade", "customer.tier_downgrade"]

    assert (await created(shop, events=events))["attributes"]["events"] == events


async def test_sent_and_unsent_events_are_documented(service: Service) -> None:
    schema = (await service.api.get("/openapi.json")).json()["components"]["schemas"]["WebhookEvent"]

    sent, never = schema["description"].split("\n\n")
    assert {event for event in schema["enum"] if f"`{event}`" in sent} == {*SENT_EVENTS.values()}
    assert {event for event in schema["enum"] if f"`{event}`" in never} == {*WebhookEvent} - {*SENT_EVENTS.values()}
    assert "never sent" in never


async def test_json_api_bodies_are_accepted(shop: Shop) -> None:
    def document(**attributes: Any) -> Json:
        return {"data": {"type": "webhook_subscription", "attributes": attributes}}

    new = await shop.send("POST", SUBSCRIPTIONS, document(url=URL, events=["points.redeemed"]))
    path = f"{SUBSCRIPTIONS}/{new.json()['data']['id']}"
    paused = await shop.send("PUT", path, document(is_active=False))
    invalid = await shop.send("PUT", path, document(events=[]))

    assert (new.status_code, paused.status_code) == (201, 200)
    attributes = paused.json()["data"]["attributes"]
    assert (attributes["url"], attributes["events"], attributes["is_active"]) == (URL, ["points.redeemed"], False)
    assert (invalid.status_code, error_of(invalid)["source"]) == (400, {"pointer": "/data/attributes/events"})


async def test_subscriptions_are_paged_newest_first(shop: Shop) -> None:
    ids = [(await created(shop))["id"] for _ in range(3)]

    first = (await shop.get(f"{SUBSCRIPTIONS}?page[size]=2")).json()
    second = (await shop.get(f"{SUBSCRIPTIONS}?page[size]=2&page[number]=2")).json()
    oldest = (await shop.get(f"{SUBSCRIPTIONS}?sort=created_at")).json()

    assert [one["id"] for one in first["data"] + second["data"]] == ids[::-1]
    assert [one["id"] for one in oldest["data"]] == ids
    assert first["meta"] == {"total": 3, "page": 1, "per_page": 2, "total_pages": 2}
    assert "secret" not in str(first)


async def test_a_page_past_the_end_is_empty(shop: Shop) -> None:
    await created(shop)

    answer = (await shop.get(f"{SUBSCRIPTIONS}?page[number]={10**20}")).json()

    assert (answer["data"], answer["meta"]["total"]) == ([], 1)


@pytest.mark.parametrize("query", ["page[size]=101", "page[size]=0", "page[number]=0", "page[number]=x", "sort=url"])
async def test_invalid_parameters_are_refused(shop: Shop, query: str) -> None:
    answer = await shop.get(f"{SUBSCRIPTIONS}?{query}")

    assert code_of(answer) == (400, "invalid_request")


async def test_a_shop_can_have_twenty_subscriptions(service: Service, shop: Shop) -> None:
    another_shop = await service.open_shop(a_shop(a_customer()))
    first = await created(shop, url=f"{URL}/1")
    await shop.send("PUT", f"{SUBSCRIPTIONS}/{first['id']}", {"is_active": False})
    for number in range(2, 21):
        await created(shop, url=f"{URL}/{number}")

    refused = await shop.send("POST", SUBSCRIPTIONS, {"url": URL, "events": ["points.redeemed"]})

    assert code_of(refused) == (422, "too_many_webhook_subscriptions")
    error = error_of(refused)
    assert error["detail"] == "A shop can have 20 webhook subscriptions. Delete one that is not used."
    assert error["meta"] == {"retry": "never"}
    await created(another_shop)
    await shop.send("DELETE", f"{SUBSCRIPTIONS}/{first['id']}", None)
    await created(shop)


async def test_simultaneous_requests_do_not_exceed_the_limit(service: Service, shop: Shop) -> None:
    for _ in range(19):
        await created(shop)
    new = {"url": URL, "events": ["points.redeemed"]}

    async with service.store.begin() as session:
        await hold_shop(session, (await shop.row()).id)
        requests = [asyncio.create_task(shop.send("POST", SUBSCRIPTIONS, new)) for _ in range(2)]
        await wait_for(lambda: locks_waited_for(service.store), 2)

    assert sorted([(await one).status_code for one in requests]) == [201, 422]


async def test_an_update_changes_only_given_fields(shop: Shop) -> None:
    before = await created(shop, description="Our CRM")

    answer = await shop.send("PUT", f"{SUBSCRIPTIONS}/{before['id']}", {"is_active": False, "description": None})

    assert answer.status_code == 200
    after = answer.json()["data"]["attributes"]
    assert (after["is_active"], after["description"]) == (False, None)
    assert (after["url"], after["events"]) == (URL, ["points.redeemed"])
    assert after["updated_at"] >= before["attributes"]["updated_at"]
    assert "secret" not in after
    assert (await shop.get(f"{SUBSCRIPTIONS}/{before['id']}")).json()["data"]["attributes"] == after


async def test_a_deleted_subscription_is_not_found(shop: Shop) -> None:
    path = f"{SUBSCRIPTIONS}/{(await created(shop))['id']}"

    answer = await shop.send("DELETE", path, None)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await shop.get(path)).status_code == 404
    assert (await shop.send("DELETE", path, None)).status_code == 404


async def test_a_rotated_secret_differs(shop: Shop) -> None:
    before = await created(shop)

    answer = await shop.send("POST", f"{SUBSCRIPTIONS}/{before['id']}/rotate-secret", None)

    assert answer.status_code == 200
    secret = answer.json()["data"]["attributes"]["secret"]
    assert re.fullmatch(r"[0-9a-f]{64}", secret)
    assert secret != before["attributes"]["secret"]


INVALID: dict[str, tuple[Json, str]] = {
    "url null": ({"url": None}, "/url"),
    "url empty": ({"url": ""}, "/url"),
    "not a url": ({"url": "example.com/hooks"}, "/url"),
    "no host": ({"url": "https:///hooks"}, "/url"),
    "invalid port": ({"url": "https://example.com:99999/"}, "/url"),
    "http": ({"url": "http://8.8.8.8/"}, "/url"),
    "other scheme": ({"url": "gopher://8.8.8.8/"}, "/url"),
    "credentials": ({"url": "https://me:secret@8.8.8.8/"}, "/url"),
    "line break": ({"url": "https://8.8.8.8/\n"}, "/url"),
    "localhost": ({"url": "https://localhost/"}, "/url"),
    "localhost as a number": ({"url": "https://2130706433/"}, "/url"),
    "private address": ({"url": "https://10.0.0.1/"}, "/url"),
    "cloud metadata": ({"url": "https://169.254.169.254/latest/meta-data"}, "/url"),
    "IPv6 loopback": ({"url": "https://[::1]/"}, "/url"),
    "IPv4-mapped IPv6": ({"url": "https://[::ffff:10.0.0.1]/"}, "/url"),
    "no events": ({"events": []}, "/events"),
    "unknown event": ({"events": ["points.stolen"]}, "/events/0"),
    "events not a list": ({"events": "points.redeemed"}, "/events"),
    "description not a string": ({"description": 5}, "/description"),
}


@pytest.mark.parametrize("problem", INVALID)
async def test_invalid_subscriptions_are_not_stored(shop: Shop, problem: str) -> None:
    changes, pointer = INVALID[problem]
    valid = await created(shop)

    answers = [
        await shop.send("POST", SUBSCRIPTIONS, {"url": URL, "events": ["points.redeemed"], **changes}),
        await shop.send("PUT", f"{SUBSCRIPTIONS}/{valid['id']}", changes),
    ]

    for answer in answers:
        assert answer.status_code == 400, answer.text
        error = error_of(answer)
        assert (error["code"], error["title"]) == ("invalid_request", "Bad Request")
        assert error["source"] == {"pointer": pointer}
    del valid["attributes"]["secret"]
    assert (await shop.get(SUBSCRIPTIONS)).json()["data"] == [valid]


async def test_url_and_events_are_required(shop: Shop) -> None:
    for body, pointer in (({"events": ["points.redeemed"]}, "/url"), ({"url": URL}, "/events")):
        answer = await shop.send("POST", SUBSCRIPTIONS, body)
        assert (answer.status_code, error_of(answer)["source"]["pointer"]) == (400, pointer)


async def test_a_read_only_key_changes_nothing(shop: Shop) -> None:
    path = f"{SUBSCRIPTIONS}/{(await created(shop))['id']}"

    writes = [("POST", SUBSCRIPTIONS), ("PUT", path), ("DELETE", path), ("POST", f"{path}/rotate-secret")]
    answers = [await shop.send(*write, {}, api_key=shop.read_key) for write in writes]

    assert [code_of(answer) for answer in answers] == [(403, "read_only_key")] * 4
    assert (await shop.get(path)).json()["data"]["attributes"]["is_active"] is True


async def test_other_shops_subscriptions_are_not_found(service: Service, shop: Shop) -> None:
    subscription = await created(shop)
    path = f"{SUBSCRIPTIONS}/{subscription['id']}"
    other = await service.open_shop(a_shop(a_customer()))

    answers = [
        await other.get(path),
        await other.send("PUT", path, {"is_active": False}),
        await other.send("DELETE", path, None),
        await other.send("POST", f"{path}/rotate-secret", None),
    ]

    for answer in answers:
        assert code_of(answer) == (404, "webhook_subscription_not_found")
        assert error_of(answer)["detail"] == f"Webhook subscription '{subscription['id']}' not found"
    assert (await other.get(SUBSCRIPTIONS)).json() == {
        "data": [],
        "meta": {"total": 0, "page": 1, "per_page": 20, "total_pages": 0},
    }
    assert (await shop.get(path)).json()["data"]["attributes"]["is_active"] is True
