"""`pointsaga keys`: made once, listed without the key, refused at once."""

from tests.commands.conftest import Pointsaga
from tests.commands.scenes import a_shop_of
from tests.service import Service


async def test_a_key_that_was_made_speaks_for_its_shop_until_it_is_revoked(
    service: Service, pointsaga: Pointsaga
) -> None:
    shop = await a_shop_of(service)
    path = f"/v1/customers/{shop.customers[0]}"

    made = await pointsaga("keys", "create", "--shop", shop.domain, "--scope", "read_only", "--label", "theme")
    key = made.out.strip()
    rows = (await pointsaga("keys", "list", "--shop", shop.domain, "--json")).json

    assert (await shop.get(path, key)).status_code == 200
    assert [(row["label"], row["scope"]) for row in rows][-1] == ("theme", "read_only")

    said = await pointsaga("keys", "revoke", str(rows[-1]["id"]))

    assert (await shop.get(path, key)).status_code == 401
    assert "(theme) is refused since" in said.out


async def test_the_list_never_shows_a_key(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service)
    words = ("--shop", shop.domain)
    made = await pointsaga("keys", "create", *words, "--scope", "full", "--label", "storefront", "--json")

    said = await pointsaga("keys", "list", *words)

    assert "storefront" in said.out
    assert made.json["key"] not in said.out + (await pointsaga("keys", "list", *words, "--json")).out


async def test_a_key_that_is_revoked_again_keeps_its_time(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service)
    [first, _] = (await pointsaga("keys", "list", "--shop", shop.domain, "--json")).json

    once = await pointsaga("keys", "revoke", str(first["id"]), "--json")
    again = await pointsaga("keys", "revoke", str(first["id"]), "--json")

    assert once.json == again.json
    assert once.json["revoked_at"] is not None


async def test_unknown_shops_and_keys_are_the_askers_mistake(pointsaga: Pointsaga) -> None:
    nowhere = ("--shop", "nowhere.myshopify.com")

    assert "there is no shop" in (await pointsaga("keys", "list", *nowhere, status=2)).err
    made = await pointsaga("keys", "create", *nowhere, "--scope", "full", "--label", "x", status=2)
    assert made.out == ""
    assert "there is no key 999" in (await pointsaga("keys", "revoke", "999", status=2)).err
    await pointsaga("keys", "create", *nowhere, "--scope", "admin", "--label", "x", status=2)
