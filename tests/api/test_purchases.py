"""POST /v1/rewards/{id}/purchase"""

import asyncio
import json

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import WorkflowEnvironment

from db.idempotency import request_fingerprint
from db.tables import Customer, IdempotencyKey, Reward
from domain.ids import new_redemption_id
from settings import Settings
from tests.api.support import code_of, error_of
from tests.builders import a_customer, a_lot, a_reward, a_shop
from tests.service import Service
from tests.shop import Shop
from tests.waiting import locks_waited_for, wait_until


async def test_a_purchase_has_the_reference_shape(shop: Shop) -> None:
    answer = await shop.purchase()

    assert answer.status_code == 201
    entry = answer.json()["data"]
    assert (entry["type"], entry["id"][:3]) == ("reward_history_entry", "cr_")
    attributes = entry["attributes"]
    assert set(attributes) == {
        *("reward_id", "reward_name", "reward_discount_type", "points_spent", "discount_code", "status"),
        *("is_refunded", "discount_code_redeemed_at", "redeemed_at", "expires_at", "created_at", "updated_at"),
    }
    assert (attributes["status"], attributes["points_spent"], attributes["is_refunded"]) == ("active", 500, False)
    assert attributes["expires_at"].endswith(".000Z")
    assert (await shop.get(f"/v1/reward-history/{entry['id']}")).json()["data"] == entry


async def test_a_refusal_does_not_decide_the_key_of_a_concurrent_purchase(shop: Shop) -> None:
    """The key is left from a request that did not end. Another request finds the customer just before this one."""
    customer = shop.customers[0]
    fingerprint = request_fingerprint("reward_abc", customer)
    key = IdempotencyKey(
        shop_id=(await shop.row()).id, key="k", fingerprint=fingerprint, redemption_id=new_redemption_id()
    )
    async with shop.service.store.begin() as session:
        session.add(key)
    async with shop.service.store.begin() as session:
        row = await session.get_one(IdempotencyKey, (key.shop_id, "k"))
        row.customer_id = customer
        await session.flush()
        request = asyncio.ensure_future(shop.purchase(key="k"))
        await wait_until(lambda: locks_waited_for(shop.service.store))

    assert (await request).status_code == 503
    assert (await shop.purchase(key="k")).status_code == 201


async def test_an_email_address_identifies_in_any_case(shop: Shop) -> None:
    assert (await shop.purchase(customer=f"Jane.{shop.customers[0]}@SHOPPER.io")).status_code == 201


@pytest.mark.parametrize("prefix", ["", "Bearer ", "bearer "])
async def test_keys_are_accepted_with_and_without_bearer(shop: Shop, prefix: str) -> None:
    answer = await shop.service.api.get(
        f"/v1/customers/{shop.customers[0]}", headers={"Authorization": prefix + shop.full_key}
    )

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("key", "detail"),
    [
        (None, "Missing Authorization header"),
        ("wrong", "Unknown or revoked API key"),
        ("Bearer ", "Unknown or revoked API key"),
        ("éè", "Unknown or revoked API key"),
    ],
)
async def test_an_unknown_key_is_unauthorized(shop: Shop, key: str | None, detail: str) -> None:
    headers = [] if key is None else [(b"Authorization", key.encode("latin-1"))]
    answer = await shop.service.api.post("/v1/rewards/reward_abc/purchase", headers=headers, content=b"not json")

    assert answer.status_code == 401
    assert (error_of(answer)["title"], error_of(answer)["detail"]) == ("Unauthorized", detail)


async def test_a_read_only_key_purchases_nothing(shop: Shop) -> None:
    shop.full_key = shop.read_key

    answer = await shop.purchase()

    assert answer.status_code == 403
    assert error_of(answer)["detail"] == "This API key is read-only and cannot perform write operations"
    assert await shop.balance() == 1200


INVALID_BODIES = {
    "empty": (b"", "invalid_json"),
    "truncated": (b'{"customer_identifier": "67', "invalid_json"),
    "a list": (b"[]", "invalid_json"),
    "a string": (b'"6789012345"', "invalid_json"),
    "null": (b"null", "invalid_json"),
    "not UTF-8": (b'{"customer_identifier": "\xff\xfe"}', "invalid_json"),
    "a lone surrogate": (b'{"customer_identifier": "\\ud800"}', "invalid_json"),
    "deeply nested": (b"[" * 10_000, "invalid_json"),
    "missing": (b"{}", "customer_identifier_missing"),
    "an empty string": (b'{"customer_identifier": ""}', "customer_identifier_missing"),
    "blanks": (b'{"customer_identifier": "  "}', "customer_identifier_missing"),
    "a number": (b'{"customer_identifier": 6789012345}', "customer_identifier_missing"),
    "null as identifier": (b'{"customer_identifier": null}', "customer_identifier_missing"),
    "NUL": (b'{"customer_identifier": "a\\u0000b"}', "invalid_request"),
    "a form feed at the end": (b'{"customer_identifier": "a\\f"}', "invalid_request"),
    "400 characters": (b'{"customer_identifier": "' + b"a" * 400 + b'"}', "invalid_request"),
}


@pytest.mark.parametrize(("body", "code"), INVALID_BODIES.values(), ids=INVALID_BODIES)
async def test_an_invalid_body_is_refused(shop: Shop, body: bytes, code: str) -> None:
    headers = {"Authorization": shop.full_key, "Content-Type": "application/json"}

    answer = await shop.service.api.post("/v1/rewards/reward_abc/purchase", headers=headers, content=body)

    assert code_of(answer) == (400, code)
    if code != "invalid_json":
        assert error_of(answer)["source"]["pointer"] == "/customer_identifier"
    assert await shop.balance() == 1200


async def test_json_api_bodies_are_accepted(shop: Shop) -> None:
    path, attributes = "/v1/rewards/reward_abc/purchase", {"customer_identifier": shop.customers[0]}

    purchased = await shop.send("POST", path, {"data": {"type": "purchase", "attributes": attributes}}, key="once")
    again = await shop.send("POST", path, attributes, key="once")
    missing = await shop.send("POST", path, {"data": {"attributes": {}}})
    misplaced = await shop.send("POST", path, {"data": attributes})

    assert (purchased.status_code, again.content) == (201, purchased.content)
    assert code_of(missing) == (400, "customer_identifier_missing")
    assert error_of(missing)["source"] == {"pointer": "/data/attributes/customer_identifier"}
    assert (misplaced.status_code, error_of(misplaced)["source"]) == (400, {"pointer": "/data/attributes"})
    assert await shop.balance() == 700


async def test_a_large_body_is_refused(shop: Shop) -> None:
    headers = {"Authorization": shop.full_key, "Content-Type": "application/json"}

    answer = await shop.service.api.post("/v1/rewards/reward_abc/purchase", headers=headers, content=b" " * 2**20)

    assert code_of(answer) == (413, "payload_too_large")


@pytest.mark.parametrize("sent", [None, "", "application/x-www-form-urlencoded", "text/plain;charset=UTF-8"])
async def test_a_body_without_a_stated_type_is_read(shop: Shop, sent: str | None) -> None:
    """The last two are what curl and fetch add."""
    headers = {"Authorization": shop.full_key} | ({} if sent is None else {"Content-Type": sent})
    body = json.dumps({"customer_identifier": shop.customers[0]}).encode()

    answer = await shop.service.api.post("/v1/rewards/reward_abc/purchase", headers=headers, content=body)

    assert answer.status_code == 201


async def test_a_form_is_refused(shop: Shop) -> None:
    form = {"customer_identifier": shop.customers[0]}

    answer = await shop.service.api.post(
        "/v1/rewards/reward_abc/purchase", headers={"Authorization": shop.full_key}, data=form
    )

    assert code_of(answer) == (415, "unsupported_media_type")
    assert "application/json" in error_of(answer)["detail"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_refused_with_allow(shop: Shop, method: str) -> None:
    answer = await shop.service.api.request(method, "/v1/rewards/reward_abc/purchase")

    assert code_of(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


async def test_a_trailing_slash_is_not_redirected(shop: Shop) -> None:
    answer = await shop.service.api.post("/v1/rewards/reward_abc/purchase/", headers={"Host": "evil.example"})

    assert code_of(answer) == (404, "not_found")
    assert "location" not in answer.headers


async def test_an_unknown_path_is_not_found(shop: Shop) -> None:
    answer = await shop.service.api.get("/v2/rewards")

    assert code_of(answer) == (404, "not_found")


@pytest.mark.parametrize("identifier", ["1", "unknown@shopper.io", "💥", "' OR 1=1 --", "\uff4aane", "a" * 320])
async def test_an_unknown_customer_is_not_found(shop: Shop, identifier: str) -> None:
    answer = await shop.purchase(customer=identifier)

    assert code_of(answer) == (404, "customer_not_found")
    assert error_of(answer)["detail"] == f"Customer '{identifier}' not found"


@pytest.mark.parametrize("reward", ["unknown", "%00", "%F0%9F%92%A5", "..%2F..", "a" * 5000, "%ff"])
async def test_an_unknown_reward_is_not_found(shop: Shop, reward: str) -> None:
    answer = await shop.purchase(reward=reward)

    assert answer.status_code == 404
    assert error_of(answer)["code"] in ("reward_not_found", "not_found")
    assert await shop.balance() == 1200


async def test_exclusion_is_checked_before_the_reward(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500), excluded=True)))

    assert error_of(await shop.purchase(reward="unknown"))["code"] == "customer_excluded"


async def test_other_shops_resources_are_not_found(service: Service, shop: Shop) -> None:
    other = await service.open_shop(a_shop(a_customer(a_lot(1200)), rewards=[a_reward("reward_theirs")]))
    entry = (await other.purchase(reward="reward_theirs")).json()["data"]["id"]

    assert error_of(await shop.purchase(customer=other.customers[0]))["code"] == "customer_not_found"
    assert error_of(await shop.purchase(reward="reward_theirs"))["code"] == "reward_not_found"
    assert (await shop.get(f"/v1/customers/{other.customers[0]}")).status_code == 404
    assert (await shop.get(f"/v1/reward-history/{entry}")).status_code == 404
    assert await other.balance() == 700


async def test_a_repeated_key_repeats_the_response(shop: Shop) -> None:
    first = await shop.purchase(key="order-17")

    again = await shop.purchase(key="order-17")

    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert await shop.balance() == 700


async def test_a_refusal_is_final_for_its_key(service: Service) -> None:
    customer = a_customer(a_lot(200))
    imported = a_shop(customer)
    shop = await service.open_shop(imported)
    refusal = await shop.purchase(key="early")
    await service.open_shop({**imported, "customers": [{**customer, "lots": [*customer["lots"], a_lot(300)]}]})

    again = await shop.purchase(key="early")

    assert (again.status_code, again.content) == (422, refusal.content)
    assert error_of(again)["meta"]["retry"] == "new_key"
    assert (await shop.purchase(key="later")).status_code == 201


async def test_concurrent_requests_with_one_key_purchase_once(shop: Shop) -> None:
    answers = await asyncio.gather(*(shop.purchase(key="twice") for _ in range(8)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert await shop.balance() == 700
    assert len(await shop.discounts()) == 1


async def test_a_reused_key_is_refused(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(1200)), rewards=[a_reward(), a_reward("other")]))
    await shop.purchase(key="used")

    for answer in (await shop.purchase(key="used", reward="other"), await shop.purchase(key="used", customer="1")):
        assert code_of(answer) == (422, "idempotency_key_reused")
    assert await shop.balance() == 700


async def test_shops_have_separate_keys(service: Service, shop: Shop) -> None:
    other = await service.open_shop(a_shop(a_customer(a_lot(1200))))

    mine, theirs = await shop.purchase(key="1"), await other.purchase(key="1")

    assert mine.json()["data"]["id"] != theirs.json()["data"]["id"]


async def test_a_generated_key_can_be_repeated(shop: Shop) -> None:
    first = await shop.purchase()

    again = await shop.purchase(key=first.headers["idempotency-key"])

    assert again.content == first.content
    assert await shop.balance() == 700


async def test_a_503_is_retried_with_the_same_key(shop: Shop) -> None:
    await shop.service.add_fault("shopify", kind="down")

    answer = await shop.purchase()

    assert answer.status_code == 503
    assert error_of(answer)["meta"]["retry"] == "same_key"
    await shop.service.clear_faults("shopify")
    assert (await shop.purchase(key=answer.headers["idempotency-key"])).status_code == 201


@pytest.mark.parametrize("key", ["", "a" * 256, "tab\tbed"])
async def test_an_invalid_key_is_refused(shop: Shop, key: str) -> None:
    headers = {"Authorization": shop.full_key, "Idempotency-Key": key}

    answer = await shop.service.api.post(
        "/v1/rewards/reward_abc/purchase", headers=headers, json={"customer_identifier": shop.customers[0]}
    )

    assert code_of(answer) == (400, "invalid_request")
    assert error_of(answer)["source"] == {"header": "Idempotency-Key"}
    assert await shop.balance() == 1200


async def test_a_reward_deactivated_meanwhile_is_still_purchased_once(service: Service, shop: Shop) -> None:
    await service.add_fault("shopify", operation="discountCodeBasicCreate", kind="latency", seconds=1)
    first = asyncio.ensure_future(shop.purchase(key="slow"))
    await wait_until(shop.redemptions)
    async with service.store.begin() as session:
        await session.execute(update(Reward).values(is_active=False))

    second = await shop.purchase(key="slow")

    assert (second.status_code, second.content) == (201, (await first).content)
    assert len(await shop.discounts("live")) == 1


async def test_a_moved_email_address_does_not_move_the_purchase(service: Service) -> None:
    shop = await service.open_shop(
        a_shop(a_customer(a_lot(500), email="moving@shopper.io"), a_customer(a_lot(500), email="other@shopper.io"))
    )
    jane, other = shop.customers
    await service.add_fault("shopify", kind="status", status=403)
    assert (await shop.purchase(customer="moving@shopper.io", key="mine")).status_code == 503
    async with service.store.begin() as session:
        for customer, email in ((jane, "gone@shopper.io"), (other, "moving@shopper.io")):
            await session.execute(update(Customer).where(Customer.id == customer).values(email=email))

    answer = await shop.purchase(customer="moving@shopper.io", key="mine")

    assert answer.status_code == 201
    assert [await shop.balance(jane), await shop.balance(other)] == [0, 500]
    assert await service.audit() == []


async def test_a_locked_ledger_is_not_reported_as_shopifys(impatient: Service) -> None:
    shop = await impatient.open_shop(a_shop(a_customer(a_lot(500))))
    async with impatient.worker():
        async with impatient.store.begin() as session:
            await session.execute(select(Customer).where(Customer.id == shop.customers[0]).with_for_update())
            purchase = asyncio.ensure_future(shop.purchase())
            await asyncio.sleep(4)  # past the deadline: the reservation waits for this lock

        assert code_of(await purchase) == (503, "engine_unavailable")
        assert await shop.balance() == 500


@pytest.mark.usefixtures("_empty_database")
async def test_the_answer_without_admission_says_when_to_retry(
    settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment
) -> None:
    """There is one place, and no worker: the first purchase keeps it for 2 s, the second from then on."""
    settings = settings.model_copy(update={"purchase_deadline_seconds": 3, "purchases_in_progress": 1})
    async with Service.running(settings, engine, temporal.client, working=False) as service:
        shop = await service.open_shop(a_shop(a_customer(a_lot(500))))

        answers = await asyncio.gather(*(shop.purchase(key=str(number)) for number in range(3)))

        assert {code_of(answer) for answer in answers} == {(503, "engine_unavailable")}
        [refused] = [one for one in answers if error_of(one)["detail"].startswith("Too many purchases are in progress")]
        assert refused.headers["retry-after"] == "2"
        async with service.store() as session:
            claimed = set(await session.scalars(select(IdempotencyKey.key)))
        assert claimed == {"0", "1", "2"} - {refused.headers["idempotency-key"]}
