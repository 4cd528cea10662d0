"""A sandbox with a file continues where an earlier one has stopped."""

from pathlib import Path
from typing import Any

import httpx

from sandbox.app import create_app
from sandbox.transport import SandboxTransport
from tests.sandbox.conftest import CREATE, SHOP, a_discount


async def sandbox_after(state: Path, *documents: tuple[str, dict[str, Any]], reset: bool = False) -> dict[str, Any]:
    """What a sandbox shows after these GraphQL requests."""
    async with httpx.AsyncClient(transport=SandboxTransport(create_app(state)), base_url="https://sandbox") as http:
        for query, variables in documents:
            body = {"query": query, "variables": variables}
            await http.post(SHOP, headers={"X-Shopify-Access-Token": "shpat_x"}, json=body)
        if reset:
            await http.delete("/_sandbox")
        shown = (await http.get("/_sandbox/shopify")).json()
    return {name: shown[name] for name in ("discounts", "metafields")}


async def test_discounts_and_metafields_survive(tmp_path: Path) -> None:
    state = tmp_path / "state"
    delete = "mutation ($id: ID!) { discountCodeDelete(id: $id) { deletedCodeDiscountId } }"
    set_ = "mutation ($m: [MetafieldsSetInput!]!) { metafieldsSet(metafields: $m) { metafields { id } } }"
    metafield = {"ownerId": "gid://shopify/Customer/1", "namespace": "a", "key": "b", "type": "json", "value": "1"}
    requests = [
        (CREATE, {"d": a_discount(code="FIRST")}),
        (CREATE, {"d": a_discount(code="SECOND")}),
        (delete, {"id": "gid://shopify/DiscountCodeNode/1"}),
        (set_, {"m": [metafield]}),
    ]

    before = await sandbox_after(state, *requests)
    after = await sandbox_after(state)
    more = await sandbox_after(
        state, (CREATE, {"d": a_discount(code="second")}), (CREATE, {"d": a_discount(code="FIRST")})
    )

    assert [(one["code"], one["status"]) for one in before["discounts"]] == [("FIRST", "deleted"), ("SECOND", "live")]
    assert len(before["metafields"]) == 1
    assert after == before
    # The live code is taken, the deleted one is free, and no id is given twice.
    assert [one["code"] for one in more["discounts"]] == ["FIRST", "SECOND", "FIRST"]
    assert len({one["id"] for one in more["discounts"] + more["metafields"]}) == 4


async def test_a_reset_is_saved(tmp_path: Path) -> None:
    await sandbox_after(tmp_path / "state", (CREATE, {"d": a_discount()}), reset=True)

    assert await sandbox_after(tmp_path / "state") == {"discounts": [], "metafields": []}
