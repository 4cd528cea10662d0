"""Purchases whose discount Shopify rejects permanently"""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from db.idempotency import request_fingerprint
from db.tables import IdempotencyKey
from domain.ids import new_redemption_id
from domain.redemptions import REJECTION_KEPT
from tests.api.support import code_of, error_of
from tests.builders import a_customer, a_free_product, a_lot, a_reward, a_shop
from tests.faults import REJECTED_CUSTOMER, VendorFault
from tests.service import Service
from tests.shop import Shop


async def reject_codes(service: Service) -> None:
    """Have Shopify reject every new discount."""
    await service.add_fault("shopify", **REJECTED_CUSTOMER)


def is_rejected(answer: httpx.Response) -> bool:
    return code_of(answer) == (503, "shopify_rejected") and error_of(answer)["meta"]["retry"] == "never"


async def test_a_rejection_is_not_retried(service: Service, shop: Shop) -> None:
    await reject_codes(service)

    first = await shop.purchase(key="mine")
    [redemption] = await shop.redemptions()
    email = (await shop.customer())["email"]
    repeats = [await shop.purchase(key=key) for key in ("mine", "mine", "another")]
    repeats += [await shop.purchase(key="another"), await shop.purchase(), await shop.purchase(customer=email)]

    assert all(map(is_rejected, [first, *repeats]))
    assert {answer.headers["retry-after"] for answer in (first, *repeats)} == {"300"}
    assert await shop.lots() == [300, 900]
    assert await service.requests("shopify") == 1
    assert [(row.id, row.attempt) for row in await shop.redemptions()] == [(redemption.id, 1)]


@pytest.mark.parametrize("key", ["mine", "another"])
async def test_a_rejected_purchase_can_be_made_later(service: Service, shop: Shop, key: str) -> None:
    await reject_codes(service)
    assert is_rejected(await shop.purchase(key="mine"))
    await service.clear_faults("shopify")
    assert is_rejected(await shop.purchase(key=key))

    await service.let_time_pass(REJECTION_KEPT)

    assert (await shop.purchase(key=key)).status_code == 201


async def test_a_changed_reward_can_be_bought_at_once(service: Service) -> None:
    imported = a_shop(a_customer(a_lot(500)), rewards=[a_free_product()])
    shop = await service.open_shop(imported)
    await shop.set_price("99", None)
    assert is_rejected(await shop.purchase(key="mine"))

    await service.import_shop({**imported, "rewards": [a_free_product("98")]})

    assert (await shop.purchase(key="mine")).status_code == 201


async def test_a_rejection_concerns_one_customer_and_reward(service: Service) -> None:
    rewards = [a_free_product(), a_reward("other")]
    shop = await service.open_shop(a_shop(a_customer(a_lot(1000)), a_customer(a_lot(500)), rewards=rewards))
    await shop.set_price("99", None)
    assert is_rejected(await shop.purchase())
    await shop.set_price("99", "12.50")

    assert (await shop.purchase(reward="other")).status_code == 201
    assert (await shop.purchase(customer=shop.customers[1])).status_code == 201


async def test_a_rejected_token_can_be_retried(service: Service, shop: Shop) -> None:
    await service.inject("shopify", VendorFault.UNAUTHORIZED, times=1)

    answer = await shop.purchase(key="mine")

    assert code_of(answer) == (503, "shopify_unavailable")
    assert error_of(answer)["meta"]["retry"] == "same_key"
    assert (await shop.purchase(key="mine")).status_code == 201


async def test_an_older_key_gets_the_answer_of_its_own_workflow(service: Service, shop: Shop) -> None:
    """Its workflow may be open when Shopify rejects the purchase of another key."""
    customer = shop.customers[0]
    older = IdempotencyKey(
        shop_id=(await shop.row()).id,
        key="older",
        fingerprint=request_fingerprint("reward_abc", customer),
        redemption_id=new_redemption_id(),
        customer_id=customer,
        created_at=datetime.now(UTC) - timedelta(seconds=1),
    )
    async with service.store.begin() as session:
        session.add(older)
    await reject_codes(service)
    assert is_rejected(await shop.purchase(key="another"))
    await service.clear_faults("shopify")

    assert (await shop.purchase(key="older")).status_code == 201
