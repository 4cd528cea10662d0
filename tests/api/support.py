"""API processes, redemptions, and reading responses."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from sqlalchemy import update
from temporalio.client import Client

from db.tables import Redemption
from settings import Settings
from tests.service import serving
from tests.shop import Shop


@asynccontextmanager
async def an_api(
    settings: Settings, temporal: Client | None = None, **changes: Any
) -> AsyncGenerator[httpx.AsyncClient]:
    """An API with changed settings."""
    async with serving(settings.model_copy(update=changes), temporal) as api:
        yield api


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The response's only error. Checks what all errors have in common."""
    [error] = answer.json()["errors"]
    assert answer.headers["content-type"] == "application/json"
    assert error["status"] == str(answer.status_code)
    assert error["meta"]["retry"] in ("same_key", "new_key", "never")
    return error


def code_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of the response's only error."""
    return answer.status_code, error_of(answer)["code"]


def attributes_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    return answer.json()["data"]["attributes"]


def ids_of(answer: httpx.Response) -> list[str]:
    """The ids of a list, in order."""
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["data"]]


def values_of(answer: httpx.Response, attribute: str) -> list[Any]:
    """One attribute of every resource of a list, in order."""
    assert answer.status_code == 200, answer.text
    return [one["attributes"][attribute] for one in answer.json()["data"]]


async def purchased(shop: Shop) -> str:
    """Id of a redemption whose deliveries are done."""
    redemption = (await shop.purchase()).json()["data"]["id"]
    await shop.service.wait_for_purchase(redemption)
    return redemption


async def set_status(shop: Shop, redemption: str, status: str) -> None:
    async with shop.service.store.begin() as session:
        await session.execute(update(Redemption).where(Redemption.id == redemption).values(status=status))
