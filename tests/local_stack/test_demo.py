"""The demo, and the shop it plays in."""

from itertools import chain

from local_stack.local import DEMO_SHOP
from services.import_format import read_import
from tests.local_stack.standins import cli


async def test_the_demo_keeps_its_word() -> None:
    status, said = await cli("demo")

    assert status == 0, said
    assert said.rstrip().endswith("demo: ok")


def test_the_demo_shop_has_one_reward_of_each_kind_of_discount() -> None:
    demo, _ = read_import(DEMO_SHOP).shops

    kinds = {reward.discount_type for reward in demo.rewards if reward.is_active}
    assert kinds == {"fixed_amount", "percentage", "free_shipping", "free_product"}


def test_nobody_in_the_demo_shop_has_an_address_that_klaviyo_drops() -> None:
    customers = chain.from_iterable(shop.customers for shop in read_import(DEMO_SHOP).shops)

    assert not [customer for customer in customers if str(customer.email).endswith("@example.com")]
