"""What is kept of a customer."""

from typing import Annotated, Any

import typer

from commands.shared import MISUSE, fail, print_json, with_database
from database import Sessions
from db.personal_data import known_about
from db.shops import find_shop


def customer_data(
    shop: Annotated[str, typer.Argument(help="The shop's domain, like demo.myshopify.com.")],
    customer: Annotated[str, typer.Argument(help="The customer's Shopify id.")],
) -> None:
    """Print everything that is kept of a customer, as JSON: the answer to a customer's request for their data."""

    async def find(store: Sessions) -> dict[str, list[dict[str, Any]]] | None:
        async with store() as session:
            found = await find_shop(session, shop)
            return found and await known_about(session, found.id, customer)

    known = with_database(find)
    if not known or not known["customers"]:
        fail(f"{shop} has no customer {customer}", status=MISUSE)
    print_json(known)
