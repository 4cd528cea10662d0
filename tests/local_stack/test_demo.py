"""The demo and its shop."""

from itertools import chain

from local_stack.stack import DEMO_SHOP
from services.import_format import read_import
from tests.local_stack.stand_ins import cli


async def test_the_demo_succeeds() -> None:
    status, output = await cli("demo")

    assert status == 0, output
    assert output.rstrip().endswith("demo: ok")


def test_the_demo_shop_has_every_discount_type() -> None:
    demo, _ = read_import(DEMO_SHOP).shops

    types = {reward.discount_type for reward in demo.rewards if reward.is_active}
    assert types == {"fixed_amount", "percentage", "free_shipping", "free_product"}


def test_klaviyo_accepts_every_demo_address() -> None:
    customers = chain.from_iterable(shop.customers for shop in read_import(DEMO_SHOP).shops)

    assert not [customer for customer in customers if str(customer.email).endswith("@example.com")]
