"""Where ledger, workflows and Shopify disagree. Reports, and changes nothing."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from activities.drift import Drift, has_drifted
from clients.outcomes import NotExecuted, VendorError
from clients.shopify import FoundDiscount
from database import Sessions
from db.audit import Finding
from db.drift import Checked, all_codes, is_as_it_was
from services.stuck import Finder, Kind

PAID = "a paid code exists at Shopify"
UNPAID = "no code can be used that nobody paid for"
ASKED = "every code could be looked up at Shopify"
LIVE = "an unfinished redemption has a live run"
DRIFTS = (PAID, UNPAID, ASKED, LIVE)

# What the reconciler has not settled by then it will not settle.
_SETTLED_WITHIN = timedelta(minutes=3)
_PAGE = 50
_TRIES = 5


async def stranded(finder: Finder) -> list[Finding]:
    """Unfinished redemptions that nobody works on, although the reconciler has had the time."""
    return [
        Finding(invariant=LIVE, subject=f"redemption {one.redemption_id}", detail=one.why)
        async for one in finder.find(older_than=_SETTLED_WITHIN)
        if one.kind is Kind.RUN_GONE
    ]


async def drifted_codes(store: Sessions, drift: Drift, *, advance: Callable[[int], None]) -> list[Finding]:
    """Compare every code with Shopify; `advance` hears how many were looked at."""
    findings: list[Finding] = []
    async for page in all_codes(store, at_a_time=_PAGE):
        looked_at = await asyncio.gather(*(_compare(store, drift, code) for code in page))
        findings += [one for one in looked_at if one is not None]
        advance(len(page))
    return findings


async def _compare(store: Sessions, drift: Drift, code: Checked) -> Finding | None:
    try:
        found = await _find(drift, code)
    except VendorError as error:
        return _finding(ASKED, code, str(error))
    if not has_drifted(code, found):
        return None
    async with store() as session:
        if not await is_as_it_was(session, code):
            # Used, refunded or expired between the two looks.
            return None
    return _finding(PAID, code, "it is gone") if found is None else _finding(UNPAID, code, f"it is {found.status}")


async def _find(drift: Drift, code: Checked) -> FoundDiscount | None:
    """Wait as long as Shopify asks for, a few times."""
    for _ in range(_TRIES - 1):
        try:
            return await drift.find(code)
        except NotExecuted as error:
            if error.retry_after is None:
                raise
            await asyncio.sleep(error.retry_after.total_seconds())
    return await drift.find(code)


def _finding(invariant: str, code: Checked, detail: str) -> Finding:
    return Finding(
        invariant=invariant,
        subject=f"redemption {code.redemption_id}",
        detail=f"code of attempt {code.attempt}: {detail}",
    )
