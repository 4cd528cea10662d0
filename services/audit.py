"""Differences between ledger, workflows and Shopify. Changes nothing."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import groupby

from activities.drift import Drift, has_drifted
from clients.outcomes import NotExecuted, VendorError
from clients.shopify import FoundDiscount
from database import Sessions
from db.audit import Finding
from db.discount_codes import ComparableCode, is_unchanged, list_comparable_codes
from db.shops import get_shop
from services.findings import MAX_ALIKE, concerns_credentials, group
from services.stuck import Stuck, StuckFinder, StuckKind

PAID_CODE_EXISTS = "a paid code exists at Shopify"
NO_UNPAID_CODE = "no unpaid code can be used at Shopify"
CODE_CHECKED = "every code could be checked at Shopify"
HAS_WORKFLOW = "an unfinished redemption has an open workflow"
DRIFTS = (PAID_CODE_EXISTS, NO_UNPAID_CODE, CODE_CHECKED, HAS_WORKFLOW)

# What the reconciler has not recovered by then it will not recover.
_RECOVERED_WITHIN = timedelta(minutes=3)
_PAGE_SIZE = 50
_ATTEMPTS = 5


async def find_orphaned(finder: StuckFinder) -> list[Finding]:
    """Redemptions and refunds without an open workflow, although the reconciler had time to start one."""
    gone = [one async for one in finder.find(older_than=_RECOVERED_WITHIN) if one.kind is StuckKind.RUN_GONE]
    return [finding for rows in group(gone) for finding in _orphaned(rows)]


def _orphaned(rows: Sequence[Stuck]) -> list[Finding]:
    """One finding each, or one for more than three of a shop and reason."""
    if len(rows) > MAX_ALIKE:
        return [_orphan(rows[0], f"{len(rows)} redemptions", rows[0].command_for_many)]
    return [_orphan(one, f"redemption {one.redemption_id}", one.command) for one in rows]


def _orphan(one: Stuck, subject: str, command: str) -> Finding:
    return Finding(invariant=HAS_WORKFLOW, subject=subject, detail=one.why, shop=one.shop, command=command)


async def compare_codes(store: Sessions, drift: Drift, *, on_compared: Callable[[int], None]) -> list[Finding]:
    """Compare every code with Shopify. `on_compared` gets the size of each batch."""
    findings: list[Finding] = []
    unchecked: Counter[tuple[int, str]] = Counter()
    last_id = 0
    while True:
        async with store() as session:
            page = await list_comparable_codes(session, after_id=last_id, limit=_PAGE_SIZE)
        if not page:
            return findings + [await _unchecked(store, *key, number) for key, number in unchecked.items()]
        compared = await asyncio.gather(*(_compare(store, drift, code, unchecked) for code in page))
        findings += [one for one in compared if one is not None]
        on_compared(len(page))
        last_id = page[-1].id


async def _compare(
    store: Sessions, drift: Drift, code: ComparableCode, unchecked: Counter[tuple[int, str]]
) -> Finding | None:
    try:
        found = await _find(drift, code)
    except VendorError as error:
        unchecked[code.shop_id, str(error)] += 1
        return None
    if not has_drifted(code, found):
        return None
    async with store() as session:
        if not await is_unchanged(session, code):
            # Used, refunded or expired during the comparison.
            return None
    if found is None:
        return _finding(PAID_CODE_EXISTS, code, "does not exist")
    return _finding(NO_UNPAID_CODE, code, f"is {found.status}")


async def _unchecked(store: Sessions, shop_id: int, reason: str, number: int) -> Finding:
    """One finding for all codes of a shop that could not be checked for this reason, such as a dead token."""
    async with store() as session:
        shop = (await get_shop(session, shop_id)).domain
    command = f"pointsaga credentials set {shop} shopify" if concerns_credentials(reason) else "pointsaga audit"
    detail = f"{number} codes: {reason}"
    return Finding(invariant=CODE_CHECKED, subject=f"shop {shop}", detail=detail, shop=shop, command=command)


async def _find(drift: Drift, code: ComparableCode) -> FoundDiscount | None:
    """Find the code at Shopify. Repeated after the delay that Shopify requests."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await drift.find(code)
        except NotExecuted as error:
            if error.retry_after is None:
                raise
            await asyncio.sleep(error.retry_after.total_seconds())
    return await drift.find(code)


def grouped(findings: Sequence[Finding]) -> list[Finding]:
    """One finding for more than three of a shop and invariant, with the first as an example."""
    ordered = sorted(findings, key=_group_key)
    groups = [list(rows) for _, rows in groupby(ordered, key=_group_key)]
    return [one for rows in groups for one in (rows if len(rows) <= MAX_ALIKE else [_merged(rows)])]


def _group_key(one: Finding) -> tuple[str, str]:
    return one.shop or "", one.invariant


def _merged(rows: Sequence[Finding]) -> Finding:
    first = rows[0]
    return replace(first, subject=f"{len(rows)} findings (--json lists all)", detail=f"{first.subject}: {first.detail}")


def _finding(invariant: str, code: ComparableCode, detail: str) -> Finding:
    return Finding(
        invariant=invariant,
        shop=code.shop_domain,
        subject=f"redemption {code.redemption_id}",
        detail=f"code of attempt {code.attempt}: {detail}",
    )
