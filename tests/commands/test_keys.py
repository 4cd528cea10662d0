"""`pointsaga keys`."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from db.tables import ApiKey
from tests.commands.conftest import CommandLine
from tests.service import Service
from tests.shop import Shop


@pytest.fixture
def service(without_temporal: Service) -> Service:
    """These tests run no workflow."""
    return without_temporal


async def test_a_key_works_until_it_is_revoked(shop: Shop, pointsaga: CommandLine) -> None:
    path = f"/v1/customers/{shop.customers[0]}"

    created = await pointsaga("keys", "create", "--shop", shop.domain, "--scope", "read_only", "--label", "theme")
    key = created.out.strip()
    row = (await pointsaga("keys", "list", "--shop", shop.domain, "--json")).json[-1]

    assert (await shop.get(path, key)).status_code == 200
    assert (row["label"], row["scope"]) == ("theme", "read_only")

    revoked = await pointsaga("keys", "revoke", str(row["id"]), "--yes")

    assert (await shop.get(path, key)).status_code == 401
    assert "(theme) was revoked at" in revoked.out


async def test_the_list_never_shows_a_key(shop: Shop, pointsaga: CommandLine) -> None:
    words = ("--shop", shop.domain)
    created = await pointsaga("keys", "create", *words, "--scope", "full", "--label", "storefront", "--json")

    listed = await pointsaga("keys", "list", *words)

    assert "storefront" in listed.out
    assert created.json["key"] not in listed.out + (await pointsaga("keys", "list", *words, "--json")).out


async def test_a_second_revocation_keeps_the_time(shop: Shop, pointsaga: CommandLine) -> None:
    [first, *_] = (await pointsaga("keys", "list", "--shop", shop.domain, "--json")).json

    once = await pointsaga("keys", "revoke", str(first["id"]), "--json", "--yes")
    again = await pointsaga("keys", "revoke", str(first["id"]), "--json", "--yes")

    assert once.json == again.json
    assert once.json["revoked_at"] is not None


async def test_a_key_is_not_revoked_without_confirmation(shop: Shop, pointsaga: CommandLine) -> None:
    [first, *_] = (await pointsaga("keys", "list", "--shop", shop.domain, "--json")).json

    assert "pass --yes" in (await pointsaga("keys", "revoke", str(first["id"]), status=2)).err

    [first, *_] = (await pointsaga("keys", "list", "--shop", shop.domain, "--json")).json
    assert first["revoked_at"] is None


async def test_unknown_shops_and_keys_are_wrong_usage(pointsaga: CommandLine) -> None:
    unknown = ("--shop", "nowhere.myshopify.com")

    assert "there is no shop" in (await pointsaga("keys", "list", *unknown, status=2)).err
    created = await pointsaga("keys", "create", *unknown, "--scope", "full", "--label", "x", status=2)
    assert created.out == ""
    assert "there is no key 999" in (await pointsaga("keys", "revoke", "999", status=2)).err
    await pointsaga("keys", "create", *unknown, "--scope", "admin", "--label", "x", status=2)


async def test_an_expired_key_says_so(shop: Shop, pointsaga: CommandLine) -> None:
    words = ("--shop", shop.domain, "--scope", "full", "--label", "theme", "--json")
    created = (await pointsaga("keys", "create", *words, "--expires-at", "2999-12-31")).json
    path = f"/v1/customers/{shop.customers[0]}"
    assert (await shop.get(path, created["key"])).status_code == 200
    async with shop.service.store.begin() as session:
        (await session.get_one(ApiKey, created["id"])).expires_at = datetime(2026, 1, 1, tzinfo=UTC)

    answer = await shop.get(path, created["key"])

    assert created["expires_at"] == "2999-12-31T00:00:00Z"
    assert answer.status_code == 401
    assert answer.json()["errors"][0]["detail"] == "This API key expired at 2026-01-01T00:00:00.000Z"


async def test_a_key_cannot_expire_in_the_past(shop: Shop, pointsaga: CommandLine) -> None:
    words = ("--shop", shop.domain, "--scope", "full", "--label", "theme")

    assert "future" in (await pointsaga("keys", "create", *words, "--expires-at", "2020-01-01", status=2)).err


async def test_the_list_shows_the_day_of_the_last_use(shop: Shop, pointsaga: CommandLine) -> None:
    async def last_used() -> list[str | None]:
        return [row["last_used_on"] for row in (await pointsaga("keys", "list", "--shop", shop.domain, "--json")).json]

    assert set(await last_used()) == {None}
    before = datetime.now(UTC).date()
    await shop.get("/v1/rewards", shop.read_key)
    [unused, day, *_] = await last_used()

    assert (unused, day in {str(before), str(datetime.now(UTC).date())}) == (None, True)
    assert str(day) in (await pointsaga("keys", "list", "--shop", shop.domain)).out


async def test_a_use_is_written_once_a_day(shop: Shop) -> None:
    """Another process locks the key: a request that wrote to it, or waited for it, would not return."""
    await shop.get("/v1/rewards")
    async with shop.service.store.begin() as session:
        keys = await session.scalars(select(ApiKey).where(ApiKey.shop_id == (await shop.row()).id).with_for_update())
        [used] = [key for key in keys if key.last_used_on]
        used.last_used_on = datetime.now(UTC).date() - timedelta(days=3)
        await session.flush()

        assert (await shop.get("/v1/rewards")).status_code == 200
    await shop.get("/v1/rewards")

    async with shop.service.store() as session:
        assert (await session.get_one(ApiKey, used.id)).last_used_on != used.last_used_on
