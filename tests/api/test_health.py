"""What the API tells of itself."""

import asyncio
import re

import httpx
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import WorkflowEnvironment

from api.app import create_app
from settings import Settings
from tests.service import Service, in_process
from tests.waiting import wait_until


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
            await wait_until(lambda: worker_is("ok"))


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
    body = purchase["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert document["components"]["schemas"][body]["required"] == ["customer_identifier"]
    assert "Idempotency-Key" in purchase["responses"]["201"]["headers"]
    assert "HTTPValidationError" not in str(document)
    answers = purchase["responses"].items()
    named = {status: set(re.findall("`(.*?)`", answer["description"])) for status, answer in answers if status != "201"}
    assert named == {
        "400": {"invalid_json", "customer_identifier_missing", "invalid_request"},
        "401": {"unauthorized"},
        "403": {"read_only_key", "customer_excluded", "vip_tier_required"},
        "404": {"customer_not_found", "reward_not_found"},
        "413": {"payload_too_large"},
        "415": {"unsupported_media_type"},
        "422": {"insufficient_points", "reward_sold_out", "idempotency_key_reused"},
        "429": {"rate_limited"},
        "500": {"internal_error"},
        "503": {"shopify_unavailable", "engine_unavailable"},
    }


async def test_the_openapi_gives_an_example_of_every_noun_and_the_errors_of_every_endpoint(service: Service) -> None:
    document = (await service.api.get("/openapi.json")).json()

    for noun in ("Reward", "Tier", "Customer", "EarningHistory", "RewardHistory", "Adjustment"):
        schema = document["components"]["schemas"][f"{noun}Attributes"]
        never_null = {one for one, about in schema["properties"].items() if "null" not in str(about)}
        assert never_null <= set(schema["example"]) <= set(schema["properties"]), noun
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/v1"):
                assert {"401", "429", "500", "503"} <= set(operation["responses"]), (method, path)
