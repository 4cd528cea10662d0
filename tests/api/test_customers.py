"""What the API tells of customers, entries and itself."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import WorkflowEnvironment

from api.app import create_app
from api.errors import KINDS
from settings import Settings
from tests.service import Service, a_customer, a_lot, a_shop, in_process, until


async def test_a_customers_points_are_those_that_can_be_spent_were_earned_and_were_spent(service: Service) -> None:
    lots = [a_lot(300, days_old=400, expires_in=-timedelta(days=1)), a_lot(900, expires_in=timedelta(days=30))]
    tiers = [{"id": "gold", "name": "Gold", "points_required": 1000}]
    shop = await service.open_shop(a_shop(a_customer(*lots, vip_tier="gold"), vip_tiers=tiers))
    await shop.purchase()

    answer = await shop.get(f"/v1/customers/{shop.customers[0]}")

    customer = answer.json()["data"]
    assert (customer["type"], customer["id"]) == ("customer", shop.customers[0])
    attributes = customer["attributes"]
    points = [attributes[f"{kind}_points"] for kind in ("current", "lifetime", "redeemed")]
    assert points == [400, 1200, 500]
    assert attributes["vip_tier"] == {
        **{"id": "gold", "name": "Gold", "points_required": 1000, "points_multiplier": 1.0},
        **{"badge_image_url": None, "badge_color": None},
    }
    assert attributes["points_expire_at"] is not None
    assert attributes["loyalty_status"] == "member"


async def test_the_tier_can_be_left_out(service: Service) -> None:
    tiers = [{"id": "gold", "name": "Gold", "points_required": 1000}]
    shop = await service.open_shop(a_shop(a_customer(vip_tier="gold"), vip_tiers=tiers))

    answer = await shop.get(f"/v1/customers/{shop.customers[0]}?exclude_vip=true")

    assert answer.json()["data"]["attributes"]["vip_tier"] is None


async def test_a_bad_parameter_is_named(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer()))

    answer = await shop.get(f"/v1/customers/{shop.customers[0]}?exclude_vip=perhaps")

    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"], error["source"]) == (
        400,
        "invalid_request",
        {"parameter": "exclude_vip"},
    )


async def test_points_of_a_failed_purchase_do_not_count_as_spent(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500))))
    await service.fault("shopify", kind="status", status=403, times=None)
    await shop.purchase()

    attributes = (await shop.get(f"/v1/customers/{shop.customers[0]}")).json()["data"]["attributes"]

    assert (attributes["current_points"], attributes["redeemed_points"]) == (500, 0)


async def test_a_failed_purchase_is_seen_by_its_id_and_shows_no_code(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500))))
    await service.fault("shopify", kind="status", status=403, times=None)
    await shop.purchase()
    [redemption] = await shop.redemptions()

    attributes = (await shop.get(f"/v1/reward-history/{redemption.id}")).json()["data"]["attributes"]

    assert (attributes["status"], attributes["discount_code"]) == ("failed", None)


@pytest.mark.parametrize("entry", ["cr_nope", "💥", "a" * 5000])
async def test_an_unknown_entry_is_not_found(service: Service, entry: str) -> None:
    shop = await service.open_shop(a_shop())

    answer = await shop.get(f"/v1/reward-history/{entry}")

    assert answer.status_code == 404
    assert answer.json()["errors"][0]["code"] == "reward_history_entry_not_found"


async def test_health_and_readiness(service: Service) -> None:
    assert (await service.api.get("/healthz")).json() == {"status": "ok"}
    ready = await service.api.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")


async def test_readiness_tells_of_the_worker_without_waiting_for_one(
    settings: Settings, engine: AsyncEngine, temporal: WorkflowEnvironment
) -> None:
    async def worker_is(condition: str) -> bool:
        ready = await service.api.get("/readyz")
        return ready.status_code == 200 and ready.json()["worker"] == condition

    async with Service.running(settings, engine, temporal.client, working=False) as service:
        assert await worker_is("no_worker")
        async with service.worker():
            await until(lambda: worker_is("ok"))


async def test_without_database_and_engine_the_api_says_so_and_nothing_worse(settings: Settings) -> None:
    nowhere = {
        "database_url": SecretStr("postgresql+asyncpg://nobody@127.0.0.1:1/nothing"),
        "temporal_address": "127.0.0.1:1",
    }
    app = create_app(settings.model_copy(update=nowhere))
    async with app.router.lifespan_context(app), in_process(httpx.ASGITransport(app)) as api:
        ready = await api.get("/readyz")
        purchase = await api.post("/v1/rewards/r/purchase", headers={"Authorization": "key"}, json={})

    assert ready.status_code == 503
    assert ready.json() == dict.fromkeys(["status", "database", "temporal"], "unavailable") | {"worker": "unknown"}
    assert purchase.status_code == 503
    assert purchase.json()["errors"][0]["code"] == "engine_unavailable"
    assert purchase.headers["retry-after"]
    assert purchase.headers["idempotency-key"]


async def test_a_database_that_accepts_and_stays_silent_is_given_up_on(settings: Settings) -> None:
    connections: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    url = SecretStr(f"postgresql+asyncpg://nobody@127.0.0.1:{port}/nothing")
    app = create_app(settings.model_copy(update={"database_url": url}))
    async with app.router.lifespan_context(app), in_process(httpx.ASGITransport(app)) as api:
        answer = await api.get("/v1/customers/1", headers={"Authorization": "key"})
    for writer in connections:
        writer.close()
    silent.close()

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, "engine_unavailable")


async def test_the_openapi_names_every_error_of_the_purchase(service: Service) -> None:
    document = (await service.api.get("/openapi.json")).json()

    purchase = document["paths"]["/v1/rewards/{reward_id}/purchase"]["post"]
    assert set(purchase["responses"]) == {
        *("201", "400", "401", "403", "404", "413", "415", "422", "429", "500", "503"),
    }
    assert "Idempotency-Key" in purchase["responses"]["201"]["headers"]
    assert purchase["requestBody"]["content"]["application/json"]["schema"]["required"] == ["customer_identifier"]
    assert "HTTPValidationError" not in str(document)
    described = " ".join(response["description"] for response in purchase["responses"].values())
    for code, kind in KINDS.items():
        if kind.status in (400, 403, 422, 429, 503):
            assert f"`{code}`" in described
