"""The saga, on the real Temporal server with time that skips: points, codes and deliveries come out right."""

import asyncio
import base64
import re
from datetime import timedelta
from typing import Any

import pytest

from tests.service import Service, a_customer, a_lot, a_reward, a_shop, until


def readable(history: str) -> str:
    """A history as an operator can read it: payloads are base 64 in the JSON form."""
    parts = re.findall(r'"data": ?"([A-Za-z0-9+/=]+)"', history)
    return history + "".join(base64.b64decode(part).decode() for part in parts)


async def asked(service: Service, vendor: str) -> int:
    return (await service.vendor(vendor))["requests"]


CHANNELS = ["klaviyo", "metafields", "omnisend", "postscript"]


@pytest.mark.recorded
async def test_a_purchase_draws_the_oldest_lot_first_and_gives_a_live_code(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(900, days_old=5), a_lot(300, days_old=50))))

    answer = await shop.purchase()

    assert answer.status_code == 201, answer.text
    entry = answer.json()["data"]
    assert await shop.lots() == [0, 700]
    assert await shop.balance() == 700
    assert [one["code"] for one in await shop.discounts("live")] == [entry["attributes"]["discount_code"]]
    assert await service.end_of(entry["id"]) == "COMPLETED"
    assert await shop.deliveries() == dict.fromkeys(CHANNELS, "sent")
    assert await service.audit() == []


async def test_the_history_of_a_purchase_is_short_and_names_nobody(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500))))
    entry = (await shop.purchase()).json()["data"]
    await service.end_of(entry["id"])

    history = await service.run_of(entry["id"]).fetch_history()

    assert len(history.events) <= 45
    text = readable(history.to_json())
    assert shop.customers[0] in text
    for secret in (entry["attributes"]["discount_code"], "@shopper.io", "+4477009", "shpat_", "pk_", "full-"):
        assert secret not in text


async def test_a_failed_purchase_shows_the_vendors_words_and_no_secret(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500))))
    body = {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}
    await service.fault("shopify", kind="status", status=401, body=body, times=None)

    await shop.purchase()

    [redemption] = await shop.redemptions()
    await service.end_of(redemption.id)
    text = readable((await service.run_of(redemption.id).fetch_history()).to_json())
    assert "Invalid API key" in text
    assert "shpat_" not in text
    assert "MAGE-" not in text


async def test_expired_points_are_not_spent(service: Service) -> None:
    gone, fresh = a_lot(500, days_old=90, expires_in=timedelta(seconds=-1)), a_lot(500)
    shop = await service.open_shop(a_shop(a_customer(gone, fresh)))

    assert await shop.balance() == 500
    assert (await shop.purchase()).status_code == 201
    assert await shop.lots() == [500, 0]


@pytest.mark.parametrize(
    ("customer", "reward", "status", "code"),
    [
        ({"excluded": True}, {}, 403, "customer_excluded"),
        ({}, {"vip_tier": "gold"}, 403, "vip_tier_required"),
        ({}, {"is_active": False}, 404, "reward_not_found"),
        ({}, {"points_cost": 501}, 422, "insufficient_points"),
    ],
)
async def test_a_refused_customer_keeps_every_point_and_the_run_is_not_red(
    service: Service, customer: dict[str, Any], reward: dict[str, Any], status: int, code: str
) -> None:
    tiers = [{"id": "gold", "name": "Gold", "points_required": 1000}]
    shop = await service.open_shop(
        a_shop(a_customer(a_lot(500), **customer), rewards=[a_reward(**reward)], vip_tiers=tiers)
    )

    answer = await shop.purchase()

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code)
    assert await shop.balance() == 500
    assert await shop.discounts() == []
    assert await shop.redemptions() == []
    runs = [run async for run in service.temporal.list_workflows(f"ShopDomain = '{shop.domain}'")]
    assert {run.status.name for run in runs if run.status} <= {"COMPLETED", "RUNNING"}


@pytest.mark.recorded
async def test_a_customer_short_of_points_reads_how_many_are_missing(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(200))))

    error = (await shop.purchase()).json()["errors"][0]

    assert error["title"] == "Insufficient Points"
    assert error["detail"] == "Customer has 200 points but this reward costs 500"


async def test_the_last_place_of_a_capped_reward_is_given_away_once(service: Service) -> None:
    customers = [a_customer(a_lot(500)) for _ in range(6)]
    shop = await service.open_shop(a_shop(*customers, rewards=[a_reward(max_redemptions=2)]))

    answers = await asyncio.gather(*(shop.purchase(customer=customer) for customer in shop.customers))

    assert sorted(answer.status_code for answer in answers) == [201, 201, 422, 422, 422, 422]
    sold_out = {answer.json()["errors"][0]["code"] for answer in answers if answer.status_code == 422}
    assert sold_out == {"reward_sold_out"}
    assert len(await shop.discounts("live")) == 2


async def test_two_purchases_of_the_last_points_at_once_make_one_purchase(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(300), a_lot(250))))

    answers = await asyncio.gather(*(shop.purchase() for _ in range(5)))

    assert sorted(answer.status_code for answer in answers) == [201, 422, 422, 422, 422]
    assert await shop.balance() == 50
    assert len(await shop.discounts("live")) == 1


# The mutation may have been executed: its code is looked up and adopted.
SURVIVED = [
    {"kind": "execute_then_drop"},
    {"kind": "broken_json"},
    {"kind": "drop"},
    {"kind": "throttled", "retry_after": 1},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 429},
    {"kind": "down", "times": 2},
    {"kind": "status", "status": 200, "body": "<html>not JSON</html>"},
]


@pytest.mark.parametrize("fault", SURVIVED, ids=str)
async def test_a_passing_fault_at_shopify_costs_nothing_but_time(service: Service, fault: dict[str, Any]) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(700))))
    await service.fault("shopify", operation="discountCodeBasicCreate", **fault)

    answer = await shop.purchase()

    assert answer.status_code == 201, answer.text
    code = answer.json()["data"]["attributes"]["discount_code"]
    assert [one["code"] for one in await shop.discounts()] == [code]
    assert await shop.balance() == 200
    assert await service.audit() == []


async def test_shopify_is_given_the_time_it_asks_for(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(700))))
    await service.fault("shopify", kind="throttled", retry_after=9, times=1)

    redemption = (await shop.purchase()).json()["data"]["id"]

    await service.end_of(redemption)
    run = await service.run_of(redemption).describe()
    assert run.close_time is not None
    assert run.close_time - run.start_time >= timedelta(seconds=9)


# For good, as far as this purchase can wait.
FATAL = [
    {"kind": "down"},
    {"kind": "drop", "times": None},
    {"kind": "status", "status": 500, "times": None},
    {"kind": "status", "status": 401, "body": {"errors": "[API] Invalid API key or access token"}, "times": None},
    {"kind": "throttled", "retry_after": 120, "times": None},
]


@pytest.mark.parametrize("fault", FATAL, ids=str)
async def test_without_a_code_the_points_are_back_before_the_caller_hears_of_it(
    service: Service, fault: dict[str, Any]
) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(300, days_old=20), a_lot(400))))
    await service.fault("shopify", **fault)

    answer = await shop.purchase()

    assert answer.status_code == 503, answer.text
    assert answer.json()["errors"][0]["code"] == "shopify_unavailable"
    assert answer.headers["retry-after"]
    assert await shop.lots() == [300, 400]
    await service.heal("shopify")
    [redemption] = await shop.redemptions()
    assert redemption.status == "failed"
    assert await service.end_of(redemption.id) == "FAILED"
    assert await shop.discounts("live") == []
    assert await shop.deliveries() == {}
    assert await service.audit() == []


@pytest.mark.recorded
async def test_a_code_that_shopify_makes_too_late_can_never_be_used(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(700))))
    # The answer is lost, the code not there yet when it is looked for, and Shopify refuses to be asked again.
    await service.fault("shopify", operation="discountCodeBasicCreate", kind="execute_late", seconds=3)
    await service.fault("shopify", operation="codeDiscountNodeByCode", kind="status", status=403, times=1)

    answer = await shop.purchase()

    assert answer.status_code == 503
    assert await shop.balance() == 700
    [redemption] = await shop.redemptions()
    assert await service.end_of(redemption.id) == "FAILED"
    await asyncio.sleep(3.5)  # until the late execution has come and met the fence
    assert await shop.discounts("live") == []
    assert [one["tags"] for one in await shop.discounts("expired")] != []


async def test_a_new_attempt_with_the_same_key_gets_a_new_code(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(700))))
    await service.fault("shopify", kind="down")
    assert (await shop.purchase(key="again")).status_code == 503
    await service.heal("shopify")

    answer = await shop.purchase(key="again")

    assert answer.status_code == 201
    [redemption] = await shop.redemptions()
    assert (redemption.status, redemption.attempt) == ("active", 2)
    assert await shop.balance() == 200
    assert await service.audit() == []


async def test_points_earned_while_others_were_reserved_are_kept(service: Service) -> None:
    customer = a_customer(a_lot(500, lot_id="old"))
    imported = a_shop(customer)
    shop = await service.open_shop(imported)
    await service.fault("shopify", kind="latency", seconds=1, times=1)
    await service.fault("shopify", kind="status", status=403, times=None)

    purchase = asyncio.ensure_future(shop.purchase())
    await until(shop.redemptions)
    await service.open_shop({**imported, "customers": [{**customer, "lots": [*customer["lots"], a_lot(70)]}]})

    assert (await purchase).status_code == 503
    assert await shop.balance() == 570


@pytest.mark.recorded
async def test_a_cancelled_purchase_gives_the_points_back(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500))))
    await service.fault("shopify", kind="latency", seconds=1, times=1)
    await service.fault("shopify", kind="status", status=500, times=1)

    purchase = asyncio.ensure_future(shop.purchase())
    await until(lambda: asked(service, "shopify"))
    [redemption] = await shop.redemptions()
    await service.run_of(redemption.id).cancel(reason="an operator's mistake")

    assert (await purchase).status_code == 503
    assert await service.end_of(redemption.id) == "CANCELED"
    assert await shop.balance() == 500
    assert await shop.discounts("live") == []


@pytest.mark.recorded
async def test_a_cancellation_that_comes_after_the_pivot_changes_nothing(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500))))
    await service.fault("shopify", operation="discountCodeBasicCreate", kind="latency", seconds=1)

    purchase = asyncio.ensure_future(shop.purchase())
    await until(lambda: asked(service, "shopify"))
    [redemption] = await shop.redemptions()
    await service.run_of(redemption.id).cancel(reason="too late: the code is being made, and will be captured")

    assert (await purchase).status_code == 201
    assert await service.end_of(redemption.id) == "COMPLETED"
    assert await shop.balance() == 0
    assert len(await shop.discounts("live")) == 1
    assert await shop.deliveries() == dict.fromkeys(CHANNELS, "sent")


async def test_a_cancellation_does_not_stop_the_news(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500))))
    await service.fault("klaviyo", kind="latency", seconds=1)
    entry = (await shop.purchase()).json()["data"]
    await until(lambda: asked(service, "klaviyo"))

    await service.run_of(entry["id"]).cancel()

    assert await service.end_of(entry["id"]) == "COMPLETED"
    assert await shop.deliveries() == dict.fromkeys(CHANNELS, "sent")


async def test_a_cancellation_does_not_stop_the_fence(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500))))
    await service.fault("shopify", operation="discountCodeBasicCreate", kind="execute_then_drop")
    await service.fault("shopify", kind="status", status=500, times=None)
    assert (await shop.purchase()).status_code == 503
    [redemption] = await shop.redemptions()

    await service.run_of(redemption.id).cancel()
    await service.heal("shopify")

    assert await service.end_of(redemption.id) == "FAILED"
    assert [one["status"] for one in await shop.discounts() if one["status"] != "deleted"] == ["expired"]
    assert await shop.balance() == 500


async def test_a_shop_without_access_to_shopify_sells_nothing_and_no_run_is_left_open(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500)), vendors=["klaviyo"]))

    answer = await shop.purchase()

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, "shopify_unavailable")
    [redemption] = await shop.redemptions()
    assert await service.end_of(redemption.id) == "FAILED"
    assert await shop.balance() == 500


async def test_vendors_down_for_ten_minutes_get_their_news_later_and_once(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500))))
    operations = {"klaviyo": "events", "omnisend": "events", "postscript": "events", "shopify": "metafieldsSet"}
    for vendor, operation in operations.items():
        # Refused fifteen times with growing pauses, at most a minute each, is a little over ten minutes.
        await service.fault(vendor, operation=operation, kind="down", times=15)

    answer = await shop.purchase()

    assert answer.status_code == 201
    redemption = answer.json()["data"]["id"]
    assert set((await shop.deliveries()).values()) == {"pending"}
    assert await service.end_of(redemption) == "COMPLETED"
    assert await shop.deliveries() == dict.fromkeys(CHANNELS, "sent")
    run = await service.run_of(redemption).describe()
    assert run.close_time is not None
    assert run.close_time - run.start_time > timedelta(minutes=10)
    for vendor in ("klaviyo", "omnisend", "postscript"):
        assert len((await service.vendor(vendor))["events"]) == 1
    assert len((await service.vendor("shopify"))["metafields"]) == 1


async def test_an_event_whose_answer_is_lost_is_repeated_where_the_vendor_drops_repeats(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500)), vendors=["shopify", "klaviyo"]))
    await service.fault("klaviyo", kind="execute_then_drop")

    redemption = (await shop.purchase()).json()["data"]["id"]

    assert await service.end_of(redemption) == "COMPLETED"
    assert (await shop.deliveries())["klaviyo"] == "sent"
    seen = await service.vendor("klaviyo")
    assert (len(seen["events"]), seen["duplicates"]) == (1, 1)


@pytest.mark.recorded
async def test_a_text_message_of_which_nobody_knows_is_not_sent_twice(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500)), vendors=["shopify", "postscript"]))
    await service.fault("postscript", kind="execute_then_drop")

    redemption = (await shop.purchase()).json()["data"]["id"]

    assert await service.end_of(redemption) == "COMPLETED"
    assert (await shop.deliveries())["postscript"] == "unknown"
    assert len((await service.vendor("postscript"))["events"]) == 1


async def test_a_shop_without_postscript_gets_no_postscript_delivery(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500)), vendors=["shopify", "klaviyo", "omnisend"]))

    redemption = (await shop.purchase()).json()["data"]["id"]

    assert await service.end_of(redemption) == "COMPLETED"
    assert await shop.deliveries() == dict.fromkeys(["klaviyo", "metafields", "omnisend"], "sent")
    assert (await service.vendor("postscript"))["requests"] == 0
