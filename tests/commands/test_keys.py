"""`pointsaga keys`."""

from tests.commands.conftest import CommandLine
from tests.shop import Shop


async def test_a_key_works_until_it_is_revoked(shop: Shop, pointsaga: CommandLine) -> None:
    path = f"/v1/customers/{shop.customers[0]}"

    created = await pointsaga("keys", "create", "--shop", shop.domain, "--scope", "read_only", "--label", "theme")
    key = created.out.strip()
    row = (await pointsaga("keys", "list", "--shop", shop.domain, "--json")).json[-1]

    assert (await shop.get(path, key)).status_code == 200
    assert (row["label"], row["scope"]) == ("theme", "read_only")

    revoked = await pointsaga("keys", "revoke", str(row["id"]))

    assert (await shop.get(path, key)).status_code == 401
    assert "(theme) was revoked at" in revoked.out


async def test_the_list_never_shows_a_key(shop: Shop, pointsaga: CommandLine) -> None:
    words = ("--shop", shop.domain)
    created = await pointsaga("keys", "create", *words, "--scope", "full", "--label", "storefront", "--json")

    listed = await pointsaga("keys", "list", *words)

    assert "storefront" in listed.out
    assert created.json["key"] not in listed.out + (await pointsaga("keys", "list", *words, "--json")).out


async def test_a_second_revocation_keeps_the_time(shop: Shop, pointsaga: CommandLine) -> None:
    [first, _] = (await pointsaga("keys", "list", "--shop", shop.domain, "--json")).json

    once = await pointsaga("keys", "revoke", str(first["id"]), "--json")
    again = await pointsaga("keys", "revoke", str(first["id"]), "--json")

    assert once.json == again.json
    assert once.json["revoked_at"] is not None


async def test_unknown_shops_and_keys_are_wrong_usage(pointsaga: CommandLine) -> None:
    unknown = ("--shop", "nowhere.myshopify.com")

    assert "there is no shop" in (await pointsaga("keys", "list", *unknown, status=2)).err
    created = await pointsaga("keys", "create", *unknown, "--scope", "full", "--label", "x", status=2)
    assert created.out == ""
    assert "there is no key 999" in (await pointsaga("keys", "revoke", "999", status=2)).err
    await pointsaga("keys", "create", *unknown, "--scope", "admin", "--label", "x", status=2)
