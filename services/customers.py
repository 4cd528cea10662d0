"""Create and update customers, one or many: validated like an import, and logged with their actor."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from database import Sessions
from db.activity_log import log_customer
from db.customers import owners_of_addresses
from db.imports import count_new_customers, customers_by_id, discard_plans, tiers_by_id, write_customers
from db.metafields import mark_all_stale
from db.shops import hold_shop
from db.tables import Customer
from domain.activity_log import ActivityKind
from domain.addresses import address_key
from services.import_changes import DoesNotFit
from services.import_format import CustomerFields
from services.imports import BATCH_SIZE, has_moved

MAX_LINES = 20_000

EMAIL_TAKEN = "another customer has this email address"
CLOSED = "the customer was erased or merged, and stays excluded"


class EmailTaken(Exception):
    """Another customer of the shop has the address."""


class CustomerClosed(Exception):
    """The customer was erased, or merged into another."""


@dataclass(frozen=True)
class FailedLine:
    """A line that changed nothing. `line`: its number, from 1."""

    line: int
    detail: str


@dataclass
class BulkResult:
    """What became of the lines of a file. Blank lines do not count."""

    created: int = 0
    updated: int = 0
    failed: list[FailedLine] = field(default_factory=list[FailedLine])


@dataclass(frozen=True)
class _Line:
    number: int
    fields: CustomerFields


async def upsert_customer(
    session: AsyncSession, shop_id: int, fields: CustomerFields, *, actor: str
) -> tuple[Customer, bool]:
    """Create the customer, or set the named fields. Returns the customer, and whether it is new.

    Raises:
        EmailTaken, CustomerClosed, DoesNotFit: nothing was changed.
    """
    try:
        result = await _upsert(session, shop_id, [_Line(1, fields)], actor=actor)
    except IntegrityError:
        raise EmailTaken(EMAIL_TAKEN) from None
    for failed in result.failed:
        errors = {EMAIL_TAKEN: EmailTaken, CLOSED: CustomerClosed}
        raise errors.get(failed.detail, DoesNotFit)(failed.detail)
    row = await session.get_one(Customer, (shop_id, fields.shopify_customer_id), populate_existing=True)
    return row, bool(result.created)


async def upsert_lines(sessions: Sessions, shop_id: int, lines: Iterable[bytes], *, actor: str) -> BulkResult:
    """Create or update a customer for each line of JSON. Each line has its own outcome, in the order of the lines.

    Written in short transactions, as by an import: an interrupted one can be repeated.
    """
    result = BulkResult()
    for batch in _batches(lines, result):
        try:
            async with sessions.begin() as session:
                _add(result, await _upsert(session, shop_id, batch, actor=actor))
        except IntegrityError:
            # An address was taken since it was looked up.
            for line in batch:
                _add(result, await _upsert_alone(sessions, shop_id, line, actor=actor))
    result.failed.sort(key=lambda failed: failed.line)
    return result


def _batches(lines: Iterable[bytes], result: BulkResult) -> Iterator[list[_Line]]:
    """The valid lines. Adds the others to the result."""
    batch: list[_Line] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            batch.append(_Line(number, CustomerFields.model_validate_json(line, strict=True)))
        except ValidationError as error:
            result.failed.append(FailedLine(number, _in_words(error)))
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch


def _in_words(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))


def _add(result: BulkResult, more: BulkResult) -> None:
    result.created += more.created
    result.updated += more.updated
    result.failed += more.failed


async def _upsert_alone(sessions: Sessions, shop_id: int, line: _Line, *, actor: str) -> BulkResult:
    try:
        async with sessions.begin() as session:
            return await _upsert(session, shop_id, [line], actor=actor)
    except IntegrityError:
        return BulkResult(failed=[FailedLine(line.number, EMAIL_TAKEN)])


async def _upsert(session: AsyncSession, shop_id: int, batch: Sequence[_Line], *, actor: str) -> BulkResult:
    """Write the lines that fit what is stored and the lines before them."""
    await discard_plans(session)
    # The shop before its customers, as in an import.
    await hold_shop(session, shop_id)
    known = await customers_by_id(session, shop_id, {one.fields.shopify_customer_id for one in batch}, locked=True)
    tiers = {None, *await tiers_by_id(session, shop_id)}
    addresses = await _Addresses.of(session, shop_id, batch, known)
    result, fitting, new = BulkResult(), list[CustomerFields](), set[str]()
    for line in batch:
        if failure := _failure(line.fields, known, tiers, addresses):
            result.failed.append(FailedLine(line.number, failure))
            continue
        fitting.append(line.fields)
        if line.fields.shopify_customer_id in known or line.fields.shopify_customer_id in new:
            result.updated += 1
        else:
            result.created += 1
            new.add(line.fields.shopify_customer_id)
    await _write(session, shop_id, fitting, known, new, actor)
    return result


def _failure(
    fields: CustomerFields, known: Mapping[str, Customer], tiers: set[str | None], addresses: "_Addresses"
) -> str | None:
    customer_id = fields.shopify_customer_id
    if customer_id in known and known[customer_id].is_closed:
        return CLOSED
    if fields.vip_tier not in tiers:
        return f"vip_tier: the shop has no VIP tier '{fields.vip_tier}'"
    if "email" in fields.model_fields_set and not addresses.take(customer_id, fields.email):
        return EMAIL_TAKEN
    return None


@dataclass(frozen=True)
class _Addresses:
    """Who has which e-mail address, as far as a batch names them, while its lines are written one after the other."""

    owner_of: dict[str, str]
    key_of: dict[str, str]

    @classmethod
    async def of(
        cls, session: AsyncSession, shop_id: int, batch: Sequence[_Line], known: Mapping[str, Customer]
    ) -> "_Addresses":
        keys = {address_key(one.fields.email) for one in batch if one.fields.email}
        owners = await owners_of_addresses(session, shop_id, keys)
        return cls(owner_of=owners, key_of={row.id: row.email_key for row in known.values() if row.email_key})

    def take(self, customer_id: str, email: str | None) -> bool:
        """Give the customer this address instead of their own. False: another customer has it."""
        key = email and address_key(email)
        if key and self.owner_of.get(key, customer_id) != customer_id:
            return False
        self.owner_of.pop(self.key_of.pop(customer_id, ""), None)
        if key:
            self.owner_of[key], self.key_of[customer_id] = customer_id, key
        return True


async def _write(
    session: AsyncSession,
    shop_id: int,
    fitting: Sequence[CustomerFields],
    known: Mapping[str, Customer],
    new: set[str],
    actor: str,
) -> None:
    # The rows that were read do not change by this.
    await write_customers(session, shop_id, [one.columns for one in fitting])
    for customer_id in new:
        log_customer(session, shop_id, customer_id, ActivityKind.CUSTOMER_CREATED, {"actor": actor})
    for one in fitting:
        if row := known.get(one.shopify_customer_id):
            _log_update(session, row, one, actor)
    if moved := {one.shopify_customer_id for one in fitting if has_moved(one, known.get(one.shopify_customer_id))}:
        await mark_all_stale(session, shop_id, moved)
    if new:
        await count_new_customers(session, shop_id, len(new))


def _log_update(session: AsyncSession, row: Customer, fields: CustomerFields, actor: str) -> None:
    changed = {name: value for name, value in fields.columns.items() if getattr(row, name) != value}
    if changed:
        excluded = {name: changed[name] for name in ("excluded",) if name in changed}
        facts = {"actor": actor, "fields": sorted(changed), **excluded}
        log_customer(session, row.shop_id, row.id, ActivityKind.CUSTOMER_UPDATED, facts)
