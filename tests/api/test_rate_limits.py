"""Each key may call so often, is told so with every answer, and is refused beyond."""

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from api.app import create_app
from api.auth import Reader
from settings import Settings
from tests.builders import a_customer, a_lot, a_shop
from tests.service import Service, in_process
from tests.shop import Shop
from tests.waiting import wait_until

FIELDS = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")


@pytest.fixture
async def shop(service: Service) -> Shop:
    return await service.open_shop(a_shop(a_customer(a_lot(1200))))


@asynccontextmanager
async def an_api(settings: Settings, limit: str, storage: str | None = None) -> AsyncGenerator[httpx.AsyncClient]:
    """One more API process, as far as its limit goes."""
    limited = {"rate_limit": limit, "rate_limit_storage_url": storage and SecretStr(storage)}
    app = create_app(settings.model_copy(update=limited))
    async with app.router.lifespan_context(app), in_process(httpx.ASGITransport(app)) as api:
        yield api


async def read(api: httpx.AsyncClient, key: str, path: str = "/v1/customers/1") -> httpx.Response:
    return await api.get(path, headers={"Authorization": key})


async def statuses(api: httpx.AsyncClient, key: str, calls: int) -> list[int]:
    return [(await read(api, key)).status_code for _ in range(calls)]


async def test_a_key_that_calls_too_often_is_told_when_to_come_back(settings: Settings, shop: Shop) -> None:
    async with an_api(settings, "2/minute") as api:
        shop.service.api = api
        await statuses(api, shop.full_key, 2)

        answer = await shop.purchase(key="order-17")

    assert answer.status_code == 429
    assert answer.json() == {
        "errors": [
            {
                "status": "429",
                "code": "rate_limited",
                "title": "Too Many Requests",
                "detail": "Rate limit exceeded. Please retry after a short delay.",
                "meta": {"retry": "same_key"},
            }
        ]
    }
    assert 50 < int(answer.headers["retry-after"]) <= 60
    assert answer.headers["idempotency-key"] == "order-17"
    assert [answer.headers[name] for name in FIELDS] == ["2", "0", answer.headers["retry-after"]]
    assert await shop.redemptions() == []


async def test_after_that_time_the_same_request_is_answered(settings: Settings, shop: Shop) -> None:
    async with an_api(settings, "3/second") as api:
        async with asyncio.timeout(20):
            while (refused := await read(api, shop.read_key)).status_code != 429:
                continue
        await asyncio.sleep(int(refused.headers["retry-after"]))

        assert (await read(api, shop.read_key)).status_code == 404


async def test_every_answer_to_a_known_key_tells_what_is_left(settings: Settings, shop: Shop) -> None:
    async with an_api(settings, "9/minute") as api:
        good, missing = (
            await read(api, shop.read_key, f"/v1/customers/{shop.customers[0]}"),
            await read(api, shop.read_key),
        )
        forbidden = await api.post("/v1/rewards/r/purchase", headers={"Authorization": shop.read_key})
        unreadable = await api.post("/v1/rewards/r/quote", headers={"Authorization": shop.read_key}, content=b"{")

    answers = (good, missing, forbidden, unreadable)
    assert [answer.status_code for answer in answers] == [200, 404, 403, 400]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["8", "7", "6", "5"]
    assert {answer.headers["ratelimit-limit"] for answer in answers} == {"9"}
    assert all(50 < int(answer.headers["ratelimit-reset"]) <= 60 for answer in answers)


async def test_a_bug_does_not_hide_what_is_left(settings: Settings, shop: Shop) -> None:
    async def bug(_: Reader) -> None:
        raise RuntimeError("a bug")

    app = create_app(settings.model_copy(update={"rate_limit": "9/minute"}))
    app.add_api_route("/bug", bug)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), in_process(transport) as api:
        answer = await read(api, shop.read_key, "/bug")

    assert (answer.status_code, answer.headers["ratelimit-remaining"]) == (500, "8")


async def test_one_key_does_not_use_up_another(settings: Settings, shop: Shop) -> None:
    async with an_api(settings, "2/minute") as api:
        assert await statuses(api, shop.full_key, 3) == [404, 404, 429]
        assert await statuses(api, shop.read_key, 3) == [404, 404, 429]


async def test_of_several_limits_the_closest_one_is_told(settings: Settings, shop: Shop) -> None:
    async with an_api(settings, "1000/second; 3/hour") as api:
        answers = [await read(api, shop.read_key) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert int(answers[-1].headers["retry-after"]) > 3500


async def test_who_is_refused_by_a_short_limit_does_not_use_up_a_long_one(settings: Settings, shop: Shop) -> None:
    async with an_api(settings, "3/hour; 2/minute") as api:
        answers = [await read(api, shop.read_key) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [404, 404, *[429] * 4]
    assert all(int(answer.headers["retry-after"]) <= 60 for answer in answers[2:])


async def test_who_has_no_key_is_not_limited(settings: Settings) -> None:
    async with an_api(settings, "1/hour") as api:
        health = [await api.get("/healthz") for _ in range(3)]
        strangers = [await read(api, "guess") for _ in range(3)]

    assert [answer.status_code for answer in health] == [200] * 3
    assert [answer.status_code for answer in strangers] == [401] * 3
    assert not any(name in answer.headers for answer in (*health, *strangers) for name in FIELDS)


@pytest.fixture
async def silence() -> AsyncGenerator[str]:
    """A server that accepts and never says a word."""
    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for writer in connections:
        writer.close()
    server.close()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "{silence}"], ids=["refuses", "is silent"])
async def test_a_storage_that_is_away_limits_nobody(
    settings: Settings, shop: Shop, silence: str, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with an_api(settings, "1/hour", f"redis://:s3cret@{address.format(silence=silence)}/0") as api:
        async with asyncio.timeout(10):
            answers = [await read(api, shop.read_key) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [404] * 3
    assert not any(name in answer.headers for answer in answers for name in FIELDS)
    said = capsys.readouterr()
    assert "requests are not counted" in said.out + said.err
    assert "s3cret" not in said.out + said.err


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncGenerator[str]:
    """A Redis server of this test's own."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server on the PATH (Debian: apt-get install redis-server)")
    socket = tmp_path / "redis.sock"
    options = ("--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path))
    server = await asyncio.create_subprocess_exec(program, *options, stdout=asyncio.subprocess.DEVNULL)
    await wait_until(lambda: asyncio.to_thread(socket.exists))
    yield f"unix://{socket}"
    server.terminate()
    await server.wait()


async def test_processes_that_share_a_redis_count_together(settings: Settings, shop: Shop, redis: str) -> None:
    async with an_api(settings, "3/minute", redis) as one, an_api(settings, "3/minute", redis) as other:
        first, second = await read(one, shop.read_key), await read(other, shop.read_key)
        later = await statuses(one, shop.read_key, 1) + await statuses(other, shop.read_key, 1)

    assert [answer.headers["ratelimit-remaining"] for answer in (first, second)] == ["2", "1"]
    assert later == [404, 429]


async def test_a_refusal_is_as_the_openapi_tells(settings: Settings, shop: Shop) -> None:
    async with an_api(settings, "1/minute") as api:
        document = (await api.get("/openapi.json")).json()
        answer = [await read(api, shop.read_key) for _ in range(2)][-1]

    told = document["paths"]["/v1/customers/{identifier}"]["get"]["responses"][str(answer.status_code)]
    assert answer.status_code == 429
    assert {**answer.json()["errors"][0]} == told["content"]["application/json"]["examples"]["rate_limited"]["value"][
        "errors"
    ][0]
    assert {name.lower() for name in told["headers"]} == {*FIELDS, "retry-after"} <= set(answer.headers)


async def test_the_openapi_tells_of_the_limit_wherever_a_key_is_asked_for(service: Service) -> None:
    paths = (await service.api.get("/openapi.json")).json()["paths"]
    operations = [operation for path in paths.values() for operation in path.values()]
    keyed = [operation["responses"] for operation in operations if "security" in operation]

    assert keyed
    for answers in keyed:
        assert "`rate_limited`" in answers["429"]["description"]
        assert "Retry-After" in answers["429"]["headers"]
        for status, answer in answers.items():
            assert ("RateLimit-Remaining" in answer.get("headers", {})) is (status != "401")
    assert not any("429" in operation["responses"] for operation in operations if "security" not in operation)
