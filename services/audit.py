"""Differences between ledger, workflows and Shopify. Changes nothing."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from activities.drift import Drift, has_drifted
from clients.outcomes import NotExecuted, VendorError
from clients.shopify import FoundDiscount
from database import Sessions
from db.audit import Finding
from db.discount_codes import ComparableCode, is_unchanged, list_comparable_codes
from services.stuck import StuckFinder, StuckKind

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
    return [
        Finding(invariant=HAS_WORKFLOW, subject=f"redemption {one.redemption_id}", detail=one.why)
        async for one in finder.find(older_than=_RECOVERED_WITHIN)
        if one.kind is StuckKind.RUN_GONE
    ]


async def compare_codes(store: Sessions, drift: Drift, *, on_compared: Callable[[int], None]) -> list[Finding]:
    """Compare every code with Shopify. `on_compared` gets the size of each batch."""
    findings: list[Finding] = []
    last_id = 0
    while True:
        async with store() as session:
            page = await list_comparable_codes(session, after_id=last_id, limit=_PAGE_SIZE)
        if not page:
            return findings
        compared = await asyncio.gather(*(_compare(store, drift, code) for code in page))
        findings += [one for one in compared if one is not None]
        on_compared(len(page))
        last_id = page[-1].id


async def _compare(store: Sessions, drift: Drift, code: ComparableCode) -> Finding | None:
    try:
        found = await _find(drift, code)
    except VendorError as error:
        return _finding(CODE_CHECKED, code, str(error))
    if not has_drifted(code, found):
        return None
    async with store() as session:
        if not await is_unchanged(session, code):
            # Used, refunded or expired during the comparison.
            return None
    if found is None:
        return _finding(PAID_CODE_EXISTS, code, "does not exist")
    return _finding(NO_UNPAID_CODE, code, f"is {found.status}")


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


def _finding(invariant: str, code: ComparableCode, detail: str) -> Finding:
    return Finding(
        invariant=invariant,
        subject=f"redemption {code.redemption_id}",
        detail=f"code of attempt {code.attempt}: {detail}",
    )
