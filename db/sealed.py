"""Encrypted columns: every place in the database that `ENCRYPTION_KEYS` opens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from db.tables import Base, Redemption, Refund, Reissue, Shop, ShopifyWebhook, WebhookSubscription


@dataclass(frozen=True, kw_only=True)
class SealedColumn:
    """A column with ciphertext: bytes, a list or a mapping. `contents`: what that is, for people."""

    contents: str
    column: InstrumentedAttribute[Any]

    @property
    def table(self) -> Any:
        return Base.metadata.tables[self.column.class_.__tablename__]

    @property
    def keys(self) -> tuple[Any, ...]:
        """The columns of the primary key."""
        return tuple(self.table.primary_key.columns)

    @property
    def values(self) -> Any:
        return self.table.c[self.column.key]


SEALED_COLUMNS = (
    SealedColumn(contents="credentials of shops", column=Shop.credentials),
    SealedColumn(contents="webhook secrets of shops", column=Shop.webhook_secrets),
    SealedColumn(contents="secrets of webhook subscriptions", column=WebhookSubscription.secret),
    SealedColumn(contents="contact data of redemptions", column=Redemption.contact),
    SealedColumn(contents="contact data of refunds", column=Refund.contact),
    SealedColumn(contents="contact data of reissues", column=Reissue.contact),
    SealedColumn(contents="unprocessed webhooks", column=ShopifyWebhook.payload),
)


async def page_of_values(
    session: AsyncSession, sealed: SealedColumn, *, after: Sequence[object] | None, rows: int, locked: bool
) -> Sequence[tuple[Any, ...]]:
    """The next rows with a value, as key and value.

    `locked`: until the transaction ends, without those that are locked elsewhere. Who never waits is in no deadlock.
    """
    query = select(*sealed.keys, sealed.values).where(sealed.values.is_not(None)).order_by(*sealed.keys).limit(rows)
    if after is not None:
        query = query.where(tuple_(*sealed.keys) > tuple_(*after))
    if locked:
        query = query.with_for_update(skip_locked=True, key_share=True)
    return [tuple(row) for row in await session.execute(query)]


async def replace_values(session: AsyncSession, sealed: SealedColumn, rows: Sequence[tuple[Any, ...]]) -> None:
    """Store these values, given as key and value. The rows' times of change stay."""
    unchanged = {"updated_at": sealed.table.c.updated_at} if "updated_at" in sealed.table.c else {}
    statement = update(sealed.table).values({sealed.values.name: bindparam("sealed"), **unchanged})
    for number, key in enumerate(sealed.keys):
        statement = statement.where(key == bindparam(f"key_{number}"))
    named = [*(f"key_{number}" for number in range(len(sealed.keys))), "sealed"]
    await session.execute(statement, [dict(zip(named, row, strict=True)) for row in rows])
