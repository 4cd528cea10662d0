"""/v1/customers/{identifier}/activity, and the actors of all changes"""

import httpx
from sqlalchemy import select

from db.tables import ActivityLog
from tests.api.support import code_of, ids_of, purchased, values_of
from tests.builders import Json
from tests.service import Service
from tests.shop import Shop


async def activity(shop: Shop, query: str = "") -> httpx.Response:
    return await shop.get(f"/v1/customers/{shop.customers[0]}/activity{query}")


async def test_an_exclusion_is_logged_with_its_actor(shop: Shop) -> None:
    changes: Json = {"is_excluded": True, "date_of_birth": "1990-05-15"}
    await shop.send("PUT", f"/v1/customers/{shop.customers[0]}", changes)
    await shop.send("PUT", f"/v1/customers/{shop.customers[0]}", changes)

    [entry] = (await activity(shop)).json()["data"]

    assert (entry["type"], entry["attributes"]["kind"]) == ("activity_entry", "customer_updated")
    assert entry["attributes"]["actor"].startswith("API key ")
    assert entry["attributes"]["details"] == {"fields": ["date_of_birth", "excluded"], "excluded": True}
    assert shop.full_key not in str(entry)


async def test_an_adjustment_is_logged_with_its_actor(shop: Shop) -> None:
    await shop.adjust(5, note="Late parcel")

    [entry] = (await activity(shop)).json()["data"]

    assert entry["attributes"]["actor"].startswith("API key ")
    assert entry["attributes"]["details"]["points"] == 5


async def test_activity_is_paged_newest_first(shop: Shop) -> None:
    redemption = await purchased(shop)
    await shop.refund(redemption)
    await shop.service.wait_for_refund(redemption)
    await shop.adjust(5)

    newest = await activity(shop, "?page[size]=2")
    oldest = await activity(shop, "?page[size]=2&page[number]=2")

    kinds = [values_of(page, "kind") for page in (newest, oldest)]
    assert kinds == [["points_adjusted", "reward_refunded"], ["reward_redeemed"]]
    assert values_of(oldest, "reward_history_entry_id") == [redemption]
    actors = values_of(newest, "actor") + values_of(oldest, "actor")
    assert [str(actor).startswith("API key ") for actor in actors] == [True, True, True]
    assert newest.json()["meta"] == {"total": 3, "page": 1, "per_page": 2, "total_pages": 2}
    assert ids_of(await activity(shop, "?sort=created_at"))[0] == ids_of(oldest)[0]
    assert ids_of(await activity(shop, "?page[number]=9")) == []


async def test_an_unknown_customer_has_no_activity(shop: Shop) -> None:
    assert code_of(await shop.get("/v1/customers/1/activity")) == (404, "customer_not_found")


async def test_changes_of_subscriptions_are_logged(service: Service, shop: Shop) -> None:
    path, new = "/v1/webhook-subscriptions", {"url": "https://8.8.8.8/hooks", "events": ["points.earned"]}
    created = (await shop.send("POST", path, new)).json()["data"]
    await shop.send("PUT", f"{path}/{created['id']}", {"is_active": False})
    await shop.send("POST", f"{path}/{created['id']}/rotate-secret", None)
    await shop.send("DELETE", f"{path}/{created['id']}", None)

    async with service.store() as session:
        entries = (await session.scalars(select(ActivityLog).order_by(ActivityLog.id))).all()

    assert [entry.kind.removeprefix("webhook_subscription_") for entry in entries] == [
        *("created", "updated", "secret_rotated", "deleted")
    ]
    assert {entry.facts["subscription_id"] for entry in entries} == {created["id"]}
    assert all(entry.facts["actor"].startswith("API key ") for entry in entries)
