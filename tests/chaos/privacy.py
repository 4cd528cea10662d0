"""What tables and Shopify still have of erased customers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from database import Sessions
from db.tables import Base
from db.vault import Vault
from domain.events import Contact
from tests.chaos.shop import ChaosShop

_ERASED = """
    SELECT c.id, c.erased_at FROM customers c JOIN shops s ON s.id = c.shop_id
    WHERE s.domain = :domain AND c.erased_at IS NOT NULL
"""
_HAPPENED = """
    SELECT r.id, r.customer_id, captured_at, refunded_at, r.contact, f.contact FROM redemptions r
    JOIN shops s ON s.id = r.shop_id LEFT JOIN refunds f ON f.redemption_id = r.id WHERE s.domain = :domain
"""
_WORDS = """
    SELECT DISTINCT word FROM {table} t JOIN unnest(CAST(:words AS text[])) word
    ON position(lower(word) IN lower(CAST(t AS text))) > 0
"""


@dataclass(frozen=True, kw_only=True)
class ErasedCustomers:
    """What is left of a shop's erased customers.

    Attributes:
        erased_at: by customer.
        happened_at: time of capture and refund, by redemption, of all customers.
        remains: customer and what is still stored of the customer, and where.
        metafields_at: when Shopify last wrote the metafield, by customer.
    """

    erased_at: dict[str, datetime]
    happened_at: dict[str, tuple[datetime | None, datetime | None]]
    remains: Sequence[tuple[str, str]]
    metafields_at: dict[str, datetime]

    @classmethod
    async def read(cls, store: Sessions, vault: Vault, sandbox: httpx.AsyncClient, shop: ChaosShop) -> Self:
        async with store() as session:
            found = await session.execute(text(_ERASED), {"domain": shop.domain})
            erased = {row.id: row.erased_at for row in found}
            rows = (await session.execute(text(_HAPPENED), {"domain": shop.domain})).all()
            remains = [*await _plain(session, shop, erased)]
        for redemption, customer, _, _, *contacts in rows:
            if customer in erased and any(
                sealed and vault.open_contact(sealed) != Contact(email=None, phone=None) for sealed in contacts
            ):
                remains.append((customer, f"the contact of {redemption}"))
        view = (await sandbox.get("/_sandbox/shopify")).raise_for_status().json()
        written = [(one["ownerId"].rpartition("/")[2], one["updatedAt"]) for one in view["metafields"]]
        return cls(
            erased_at=erased,
            happened_at={redemption: (captured, refunded) for redemption, _, captured, refunded, *_ in rows},
            remains=remains,
            metafields_at={customer: datetime.fromisoformat(at) for customer, at in written if customer in erased},
        )


async def _plain(session: AsyncSession, shop: ChaosShop, customers: dict[str, datetime]) -> list[tuple[str, str]]:
    """Readable e-mail addresses, phone numbers and names in any table."""
    profiles = {one["shopify_customer_id"]: one for one in shop.document()["customers"]}
    words = {profiles[one][field]: one for one in customers for field in ("email", "phone", "first_name")}
    found: list[tuple[str, str]] = []
    for table in Base.metadata.sorted_tables:
        query = text(_WORDS.format(table=table.name))
        rows = await session.scalars(query, {"words": [*words]})
        found += [(words[word], f"{word} in {table.name}") for word in rows]
    return found
