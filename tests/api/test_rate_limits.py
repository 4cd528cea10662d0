"""Rate limits per API key"""

import asyncio
import shutil
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from api.app import create_app
from api.auth import Reader
from api.rate_limits import TIMEOUT_SECONDS, RateLimits
from settings import Settings
from tests.api.support import an_api
from tests.service import Service, in_process
from tests.shop import Shop
from tests.waiting import wait_until

FIELDS = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")


def limited(
    settings: Settings, limit: str, storage: str | None = None
) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    """An API with this limit. `storage`: URL of a Redis server."""
    return an_api(settings, rate_limit=limit, rate_limit_storage_url=storage and SecretStr(storage))


async def read(api: httpx.AsyncClient, key: str, path: str = "/v1/customers/1") -> httpx.Response:
    return await api.get(path, headers={"Authorization": key})


async def statuses(api: httpx.AsyncClient, key: str, calls: int) -> list[int]:
    return [(await read(api, key)).status_code for _ in range(calls)]


@pytest.fixture
def service(without_temporal: Service) -> Service:
    """These tests run no workflow."""
    return without_temporal


async def test_too_many_requests_are_refused_with_retry_after(settings: Settings, shop: Shop) -> None:
    async with limited(settings, "2/minute") as api:
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


async def test_a_retry_after_that_time_succeeds(settings: Settings, shop: Shop) -> None:
    async with limited(settings, "3/second") as api:
        async with asyncio.timeout(20):
            while (refused := await read(api, shop.read_key)).status_code != 429:
                continue
        await asyncio.sleep(int(refused.headers["retry-after"]))

        assert (await read(api, shop.read_key)).status_code == 404


async def test_every_response_has_the_remaining_requests(settings: Settings, shop: Shop) -> None:
    async with limited(settings, "9/minute") as api:
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


async def test_an_internal_error_has_the_remaining_requests(settings: Settings, shop: Shop) -> None:
    async def bug(_: Reader) -> None:
        raise RuntimeError

    app = create_app(settings.model_copy(update={"rate_limit": "9/minute"}))
    app.add_api_route("/bug", bug)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), in_process(transport) as api:
        answer = await read(api, shop.read_key, "/bug")

    assert (answer.status_code, answer.headers["ratelimit-remaining"]) == (500, "8")


async def test_each_key_has_its_own_limit(settings: Settings, shop: Shop) -> None:
    async with limited(settings, "2/minute") as api:
        assert await statuses(api, shop.full_key, 3) == [404, 404, 429]
        assert await statuses(api, shop.read_key, 3) == [404, 404, 429]


async def test_headers_show_the_most_restrictive_limit(settings: Settings, shop: Shop) -> None:
    async with limited(settings, "1000/second; 3/hour") as api:
        answers = [await read(api, shop.read_key) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert int(answers[-1].headers["retry-after"]) > 3500


async def test_a_busy_process_limits_all_the_same() -> None:
    assert await asyncio.to_thread(asyncio.run, _granted_while_busy(requests=6)) == 1


async def _granted_while_busy(*, requests: int) -> int:
    """How many requests a limit of one grants, while no thread is free for longer than Redis is waited for."""
    loop, limits = asyncio.get_running_loop(), RateLimits("1/minute", None)
    loop.set_default_executor(ThreadPoolExecutor(1))
    busy = loop.run_in_executor(None, time.sleep, 2 * TIMEOUT_SECONDS)
    granted: list[bool] = []
    for _ in range(requests):
        allowance = await limits.count(1)
        granted.append(allowance is None or allowance.granted)
        # The storage cleans up in a thread, and holds its lock meanwhile.
        await asyncio.sleep(0)
    await busy
    return sum(granted)


async def test_refused_requests_do_not_count_in_longer_limits(settings: Settings, shop: Shop) -> None:
    async with limited(settings, "3/hour; 2/minute") as api:
        answers = [await read(api, shop.read_key) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [404, 404, *[429] * 4]
    assert all(int(answer.headers["retry-after"]) <= 60 for answer in answers[2:])


async def test_requests_without_a_valid_key_are_not_limited(settings: Settings) -> None:
    async with limited(settings, "1/hour") as api:
        health = [await api.get("/healthz") for _ in range(3)]
        unauthorized = [await read(api, "guess") for _ in range(3)]

    assert [answer.status_code for answer in health] == [200] * 3
    assert [answer.status_code for answer in unauthorized] == [401] * 3
    assert not any(name in answer.headers for answer in (*health, *unauthorized) for name in FIELDS)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "{unresponsive}"], ids=["refuses", "unresponsive"])
async def test_without_storage_nothing_is_limited(
    settings: Settings, shop: Shop, unresponsive: str, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with limited(settings, "1/hour", f"redis://:s3cret@{address.format(unresponsive=unresponsive)}/0") as api:
        async with asyncio.timeout(10):
            answers = [await read(api, shop.read_key) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [404] * 3
    assert not any(name in answer.headers for answer in answers for name in FIELDS)
    output = capsys.readouterr()
    assert "requests are not counted" in output.out + output.err
    assert "s3cret" not in output.out + output.err


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncGenerator[str]:
    """A Redis server."""
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


async def test_processes_share_limits_through_redis(settings: Settings, shop: Shop, redis: str) -> None:
    async with limited(settings, "3/minute", redis) as one, limited(settings, "3/minute", redis) as other:
        first, second = await read(one, shop.read_key), await read(other, shop.read_key)
        later = await statuses(one, shop.read_key, 1) + await statuses(other, shop.read_key, 1)

    assert [answer.headers["ratelimit-remaining"] for answer in (first, second)] == ["2", "1"]
    assert later == [404, 429]


async def test_a_refused_request_matches_its_documentation(settings: Settings, shop: Shop) -> None:
    async with limited(settings, "1/minute") as api:
        document = (await api.get("/openapi.json")).json()
        answer = [await read(api, shop.read_key) for _ in range(2)][-1]

    documented = document["paths"]["/v1/customers/{identifier}"]["get"]["responses"][str(answer.status_code)]
    assert answer.status_code == 429
    assert answer.json() == documented["content"]["application/json"]["examples"]["rate_limited"]["value"]
    assert (
        {name.lower() for name in documented["headers"]}
        == {*FIELDS, "retry-after", "x-request-id"}
        <= set(answer.headers)
    )
