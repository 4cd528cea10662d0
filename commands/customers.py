"""`pointsaga customer-data`."""

from typing import Annotated, Any

import typer

from commands.connections import with_database
from commands.output import MISUSE, fail, print_json
from database import Sessions
from db.personal_data import export_customer
from db.shops import find_shop


def customer_data(
    shop: Annotated[str, typer.Argument(help="The shop's domain, like demo.myshopify.com.")],
    customer: Annotated[str, typer.Argument(help="The customer's Shopify id.")],
) -> None:
    """Print all data that is stored about a customer, as JSON. For answering a customer's data request."""

    async def find(store: Sessions) -> dict[str, list[dict[str, Any]]] | None:
        async with store() as session:
            found = await find_shop(session, shop)
            return found and await export_customer(session, found.id, customer)

    data = with_database(find)
    if not data or not data["customers"]:
        fail(f"{shop} has no customer {customer}", status=MISUSE)
    print_json(data)
