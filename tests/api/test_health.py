"""/healthz and /readyz, and the API without its dependencies"""

from pydantic import SecretStr

from settings import Settings
from tests.api.support import an_api, code_of
from tests.service import Service
from tests.waiting import wait_until


async def test_health_and_readiness(service: Service) -> None:
    assert (await service.api.get("/healthz")).json() == {"status": "ok"}
    ready = await service.api.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")


async def test_readiness_reports_the_worker(idle: Service) -> None:
    async def worker_is(condition: str) -> bool:
        ready = await idle.api.get("/readyz")
        return ready.status_code == 200 and ready.json()["worker"] == condition

    assert await worker_is("no_worker")
    async with idle.worker():
        await wait_until(lambda: worker_is("ok"))


async def test_without_database_and_temporal_the_api_answers_503(settings: Settings) -> None:
    url = SecretStr("postgresql+asyncpg://user@127.0.0.1:1/database")
    async with an_api(settings, database_url=url, temporal_address="127.0.0.1:1") as api:
        ready = await api.get("/readyz")
        purchase = await api.post("/v1/rewards/r/purchase", headers={"Authorization": "key"}, json={})

    assert ready.status_code == 503
    assert ready.json() == dict.fromkeys(["status", "database", "temporal"], "unavailable") | {"worker": "unknown"}
    assert code_of(purchase) == (503, "engine_unavailable")
    assert purchase.headers["retry-after"]
    assert purchase.headers["idempotency-key"]


async def test_an_unresponsive_database_times_out(settings: Settings, unresponsive: str) -> None:
    url = SecretStr(f"postgresql+asyncpg://user@{unresponsive}/database")
    async with an_api(settings, database_url=url) as api:
        answer = await api.get("/v1/customers/1", headers={"Authorization": "key"})

    assert code_of(answer) == (503, "engine_unavailable")
