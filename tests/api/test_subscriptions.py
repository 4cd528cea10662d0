"""The merchant's own word on who is told of what."""

import re
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from db.tables import WebhookSubscription
from domain.subscriptions import EVENTS, WebhookEvent
from tests.builders import Json, a_customer, a_shop
from tests.service import Service
from tests.shop import Shop

SUBSCRIPTIONS = "/v1/webhook-subscriptions"
# A public address without a name: nothing is looked up, and nothing is sent.
URL = "https://8.8.8.8/hooks"


@pytest.fixture
async def shop(service: Service) -> Shop:
    return await service.open_shop(a_shop(a_customer()))


async def created(shop: Shop, **changes: Any) -> Json:
    """A new subscription, as it was answered."""
    body = {"url": URL, "events": ["points.redeemed"], **changes}
    answer = await shop.send("POST", SUBSCRIPTIONS, body)
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


def error_of(answer: httpx.Response) -> Json:
    [error] = answer.json()["errors"]
    assert error["status"] == str(answer.status_code)
    return error


async def test_a_subscription_is_created_and_its_secret_is_shown_once(shop: Shop) -> None:
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
        kept = (await session.scalars(select(WebhookSubscription.secret))).all()
    assert all(secret.encode() not in one for one in kept)


async def test_events_of_mages_that_nobody_sends_can_be_subscribed(shop: Shop) -> None:
    events = ["points.earned", "customer.tier_upgrade", "customer.tier_downgrade"]

    assert (await created(shop, events=events))["attributes"]["events"] == events


async def test_the_openapi_tells_which_events_are_sent_and_which_never(service: Service) -> None:
    schema = (await service.api.get("/openapi.json")).json()["components"]["schemas"]["WebhookEvent"]

    sent, never = schema["description"].split("\n\n")
    assert {event for event in schema["enum"] if f"`{event}`" in sent} == {*EVENTS.values()}
    assert {event for event in schema["enum"] if f"`{event}`" in never} == {*WebhookEvent} - {*EVENTS.values()}
    assert "never sent" in never


async def test_a_subscription_may_come_as_json_api_has_it(shop: Shop) -> None:
    def document(**attributes: Any) -> Json:
        return {"data": {"type": "webhook_subscription", "attributes": attributes}}

    made = await shop.send("POST", SUBSCRIPTIONS, document(url=URL, events=["points.redeemed"]))
    path = f"{SUBSCRIPTIONS}/{made.json()['data']['id']}"
    paused = await shop.send("PUT", path, document(is_active=False))
    bad = await shop.send("PUT", path, document(events=[]))

    assert (made.status_code, paused.status_code) == (201, 200)
    attributes = paused.json()["data"]["attributes"]
    assert (attributes["url"], attributes["events"], attributes["is_active"]) == (URL, ["points.redeemed"], False)
    assert (bad.status_code, error_of(bad)["source"]) == (400, {"pointer": "/data/attributes/events"})


async def test_the_list_shows_the_newest_first_page_by_page(shop: Shop) -> None:
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


@pytest.mark.parametrize(
    "query", ["page[size]=101", "page[size]=0", "page[number]=0", "page[number]=x", "per_page=2", "sort=url"]
)
async def test_a_page_that_cannot_be_is_refused(shop: Shop, query: str) -> None:
    answer = await shop.get(f"{SUBSCRIPTIONS}?{query}")

    assert answer.status_code == 400
    assert error_of(answer)["code"] == "invalid_request"


async def test_an_update_changes_what_it_names_and_nothing_else(shop: Shop) -> None:
    before = await created(shop, description="Our CRM")

    answer = await shop.send("PUT", f"{SUBSCRIPTIONS}/{before['id']}", {"is_active": False, "description": None})

    assert answer.status_code == 200
    after = answer.json()["data"]["attributes"]
    assert (after["is_active"], after["description"]) == (False, None)
    assert (after["url"], after["events"]) == (URL, ["points.redeemed"])
    assert after["updated_at"] >= before["attributes"]["updated_at"]
    assert "secret" not in after
    assert (await shop.get(f"{SUBSCRIPTIONS}/{before['id']}")).json()["data"]["attributes"] == after


async def test_a_deleted_subscription_is_gone(shop: Shop) -> None:
    path = f"{SUBSCRIPTIONS}/{(await created(shop))['id']}"

    answer = await shop.send("DELETE", path, None)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await shop.get(path)).status_code == 404
    assert (await shop.send("DELETE", path, None)).status_code == 404


async def test_a_rotated_secret_is_shown_once(shop: Shop) -> None:
    before = await created(shop)

    answer = await shop.send("POST", f"{SUBSCRIPTIONS}/{before['id']}/rotate-secret", None)

    assert answer.status_code == 200
    secret = answer.json()["data"]["attributes"]["secret"]
    assert re.fullmatch(r"[0-9a-f]{64}", secret)
    assert secret != before["attributes"]["secret"]


BAD: dict[str, tuple[Json, str]] = {
    "no url": ({"url": None}, "/url"),
    "an empty url": ({"url": ""}, "/url"),
    "not a url": ({"url": "example.com/hooks"}, "/url"),
    "no host": ({"url": "https:///hooks"}, "/url"),
    "no port": ({"url": "https://example.com:99999/"}, "/url"),
    "plain http": ({"url": "http://8.8.8.8/"}, "/url"),
    "another scheme": ({"url": "gopher://8.8.8.8/"}, "/url"),
    "credentials": ({"url": "https://me:secret@8.8.8.8/"}, "/url"),
    "a line break": ({"url": "https://8.8.8.8/\n"}, "/url"),
    "this machine": ({"url": "https://localhost/"}, "/url"),
    "this machine by number": ({"url": "https://2130706433/"}, "/url"),
    "a neighbour": ({"url": "https://10.0.0.1/"}, "/url"),
    "the cloud's own": ({"url": "https://169.254.169.254/latest/meta-data"}, "/url"),
    "this machine in IPv6": ({"url": "https://[::1]/"}, "/url"),
    "IPv4 in IPv6 clothes": ({"url": "https://[::ffff:10.0.0.1]/"}, "/url"),
    "no events": ({"events": []}, "/events"),
    "an unknown event": ({"events": ["points.stolen"]}, "/events/0"),
    "events of another kind": ({"events": "points.redeemed"}, "/events"),
    "a description of another kind": ({"description": 5}, "/description"),
}


@pytest.mark.parametrize("problem", BAD)
async def test_what_cannot_be_subscribed_is_refused_and_nothing_is_kept(shop: Shop, problem: str) -> None:
    changes, pointer = BAD[problem]
    good = await created(shop)

    answers = [
        await shop.send("POST", SUBSCRIPTIONS, {"url": URL, "events": ["points.redeemed"], **changes}),
        await shop.send("PUT", f"{SUBSCRIPTIONS}/{good['id']}", changes),
    ]

    for answer in answers:
        assert answer.status_code == 400, answer.text
        error = error_of(answer)
        assert (error["code"], error["title"], error["source"]["pointer"]) == (
            "invalid_request",
            "Bad Request",
            pointer,
        )
    del good["attributes"]["secret"]
    assert (await shop.get(SUBSCRIPTIONS)).json()["data"] == [good]


async def test_a_body_without_url_or_events_is_refused(shop: Shop) -> None:
    for body, pointer in (({"events": ["points.redeemed"]}, "/url"), ({"url": URL}, "/events")):
        answer = await shop.send("POST", SUBSCRIPTIONS, body)
        assert (answer.status_code, error_of(answer)["source"]["pointer"]) == (400, pointer)


async def test_a_read_only_key_reads_and_changes_nothing(shop: Shop) -> None:
    path = f"{SUBSCRIPTIONS}/{(await created(shop))['id']}"

    writes = [("POST", SUBSCRIPTIONS), ("PUT", path), ("DELETE", path), ("POST", f"{path}/rotate-secret")]
    answers = [await shop.send(*write, {}, api_key=shop.read_key) for write in writes]

    assert [(answer.status_code, error_of(answer)["code"]) for answer in answers] == [(403, "read_only_key")] * 4
    assert (await shop.get(path)).json()["data"]["attributes"]["is_active"] is True


async def test_another_shops_subscription_does_not_exist(service: Service, shop: Shop) -> None:
    subscription = await created(shop)
    path = f"{SUBSCRIPTIONS}/{subscription['id']}"
    stranger = await service.open_shop(a_shop(a_customer()))

    answers = [
        await stranger.get(path),
        await stranger.send("PUT", path, {"is_active": False}),
        await stranger.send("DELETE", path, None),
        await stranger.send("POST", f"{path}/rotate-secret", None),
    ]

    for answer in answers:
        assert answer.status_code == 404
        assert error_of(answer)["code"] == "webhook_subscription_not_found"
        assert error_of(answer)["detail"] == f"Webhook subscription '{subscription['id']}' not found"
    assert (await stranger.get(SUBSCRIPTIONS)).json() == {
        "data": [],
        "meta": {"total": 0, "page": 1, "per_page": 20, "total_pages": 0},
    }
    assert (await shop.get(path)).json()["data"]["attributes"]["is_active"] is True


async def test_the_openapi_describes_subscriptions(service: Service) -> None:
    paths = (await service.api.get("/openapi.json")).json()["paths"]

    one = f"{SUBSCRIPTIONS}/{{subscription_id}}"
    assert set(paths[SUBSCRIPTIONS]) | set(paths[one]) == {"get", "post", "put", "delete"}
    statuses = " ".join(sorted(paths[one]["put"]["responses"]))
    assert statuses == "200 400 401 403 404 413 415 429 500 503"
    assert "204" in paths[one]["delete"]["responses"]
    assert "requestBody" in paths[SUBSCRIPTIONS]["post"]
    assert "200" in paths[f"{one}/rotate-secret"]["post"]["responses"]
