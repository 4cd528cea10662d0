"""`pointsaga keys reseal`: a new encryption key takes over while customers buy."""

import asyncio
import re
from datetime import datetime
from typing import Any

import pytest
from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import WorkflowEnvironment

from db.sealed import SEALED_COLUMNS
from db.tables import Base, Redemption
from db.vault import Vault
from services import reseal
from settings import Settings
from tests.builders import a_customer, a_lot, a_shop, encrypt_with_lost_key
from tests.commands.conftest import CommandLine
from tests.service import Service
from tests.shop import Shop

NEW = Fernet.generate_key().decode()
COST = 500


@pytest.fixture
def rotated(settings: Settings) -> Settings:
    """Settings with a new key in front."""
    return settings.model_copy(update={"encryption_keys": (SecretStr(NEW), *settings.encryption_keys)})


def command_line(service: Service) -> CommandLine:
    keys = ",".join(key.get_secret_value() for key in service.settings.encryption_keys)
    return CommandLine({**service.env, "ENCRYPTION_KEYS": keys})


async def open_shop(service: Service, *, customers: int = 1, url: str = "https://merchant.example/hooks") -> Shop:
    """A shop with something sealed in every column."""
    document = a_shop(*(a_customer(a_lot(4 * COST)) for _ in range(customers)))
    document["shopify"]["webhook_secret"] = ["first", "second"]
    shop = await service.open_shop(document)
    subscription = {"url": url, "events": ["points.redeemed"]}
    assert (await shop.send("POST", "/v1/webhook-subscriptions", subscription)).status_code == 201
    return shop


async def stored(service: Service) -> list[Any]:
    """Every sealed value in the database."""
    async with service.store() as session:
        columns = [await session.scalars(select(one.values).where(one.values.is_not(None))) for one in SEALED_COLUMNS]
    return [value for column in columns for value in column]


def opened_by(key: str, values: list[Any]) -> int:
    """How many of the values this key opens alone."""
    vault = Vault([SecretStr(key)])
    parts = [reseal.ciphertexts_of(value) for value in values]
    return sum(all(_opens(vault, part) for part in value) for value in parts)


def _opens(vault: Vault, part: bytes) -> bool:
    try:
        vault.open_bytes(part)
    except InvalidToken:
        return False
    return True


@pytest.mark.usefixtures("_empty_database")
async def test_a_new_key_takes_over_while_customers_buy(
    settings: Settings,
    rotated: Settings,
    engine: AsyncEngine,
    temporal: WorkflowEnvironment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reseal, "BATCH", 3)
    allowed = {"webhook_allow_private_targets": True}
    async with Service.running(settings.model_copy(update=allowed), engine, temporal.client) as before:
        shop = await open_shop(before, customers=6, url="http://127.0.0.1:9/hooks")
        bought = [(await shop.purchase(customer=one)).json()["data"]["id"] for one in shop.customers]
        assert (await shop.refund(bought[0])).status_code == 200
        changed = await times_of_change(before)
    async with Service.running(rotated.model_copy(update=allowed), engine, temporal.client) as service:
        shop.service = service
        pointsaga = command_line(service)
        buying = asyncio.create_task(buy_all(shop, rounds=2))

        first = (await pointsaga("keys", "reseal", "--json")).json

        assert {answer.status_code for answer in await buying} == {201}
        values = await stored(service)
        assert opened_by(NEW, values) == len(values) > 10
        numbers = {one["contents"]: one["resealed"] for one in first}
        assert numbers["contact data of redemptions"] == 6
        # Webhooks are processed by now, and no order was cancelled.
        none = {"unprocessed webhooks", "contact data of reissues"}
        assert min(numbers[one.contents] for one in SEALED_COLUMNS if one.contents not in none) == 1
        after = await times_of_change(service)
        assert {one: after[one] for one in bought} == {one: changed[one] for one in bought}

        again = (await pointsaga("keys", "reseal", "--json")).json
        assert {one["resealed"] for one in again} == {0}


async def buy_all(shop: Shop, *, rounds: int) -> list[Any]:
    return [await shop.purchase(customer=one) for _ in range(rounds) for one in shop.customers]


async def times_of_change(service: Service) -> dict[str, datetime]:
    async with service.store() as session:
        return {row.id: row.updated_at for row in await session.scalars(select(Redemption))}


async def test_an_interrupted_reseal_is_continued(idle: Service) -> None:
    await open_shop(idle)
    await open_shop(idle)
    idle.settings = idle.settings.model_copy(
        update={"encryption_keys": (SecretStr(NEW), *idle.settings.encryption_keys)}
    )
    vault = Vault(idle.settings.encryption_keys)

    def stop(_rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await reseal.Reseal(idle.store, vault).run(stop)
    interrupted = opened_by(NEW, await stored(idle))
    await command_line(idle)("keys", "reseal")

    values = await stored(idle)
    assert 0 < interrupted < len(values) == opened_by(NEW, values)


async def test_a_locked_row_is_reported(idle: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = await open_shop(idle)
    idle.settings = idle.settings.model_copy(
        update={"encryption_keys": (SecretStr(NEW), *idle.settings.encryption_keys)}
    )
    async with idle.store.begin() as session:
        await session.execute(select(type(await shop.row())).with_for_update())

        result = await command_line(idle)("keys", "reseal", status=1)

    assert "encrypted with an older key" in result.err
    await command_line(idle)("keys", "reseal")


async def test_what_no_key_opens_is_reported_and_kept(idle: Service) -> None:
    shop = await open_shop(idle)
    await shop.set_credentials(klaviyo=encrypt_with_lost_key(api_key="pk_lost"))
    lost = (await shop.row()).credentials

    result = await command_line(idle)("keys", "reseal", status=1)

    assert "none of ENCRYPTION_KEYS decrypts some" in result.err
    assert (await shop.row()).credentials == lost


def test_every_encrypted_column_is_resealed() -> None:
    names = re.compile(r"credentials|secret|contact|payload")
    columns = {column for table in Base.metadata.tables.values() for column in table.columns}

    assert {one for one in columns if names.search(one.name)} == {one.values for one in SEALED_COLUMNS}
