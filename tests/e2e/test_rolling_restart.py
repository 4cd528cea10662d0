"""A release under load: API, worker and Temporal are replaced one after the other while customers buy."""

import signal

from tests.e2e.callers import AWARD, Callers
from tests.e2e.deployment import Deployment

CALLERS = 16
DOCUMENTED = {"engine_unavailable", "shopify_unavailable"}
"""Error codes of a 503, see the API document."""


async def test_a_rolling_restart_answers_with_codes_or_documented_errors(deployment: Deployment) -> None:
    callers = await Callers.of(deployment, CALLERS)
    worker = await deployment.start_worker()
    old_api, callers.api = await deployment.start_api(deadline_seconds=25)

    async with callers.buying():
        await callers.get_codes(CALLERS)
        await deployment.start_worker()
        assert await worker.end(signal.SIGTERM) == 0
        await callers.get_codes(CALLERS)
        _, callers.api = await deployment.start_api(deadline_seconds=25)
        await old_api.end(signal.SIGTERM)
        await callers.get_codes(CALLERS)
        deployment.kill("temporal")
        await deployment.temporal_is_back()
        await callers.get_codes(CALLERS)

    await deployment.ended(callers.shop, purchases=len(callers.purchases))
    await deployment.check(callers.shop, award=AWARD, purchases=callers.purchases)
    unavailable = [one for purchase in callers.purchases for one in purchase.answers if one.status != 201]
    assert {one.status for one in unavailable} <= {503}, callers.statuses
    assert {one.body["errors"][0]["code"] for one in unavailable} <= DOCUMENTED
    # Only Temporal's restart may cost a purchase: those in progress at that moment.
    assert len(unavailable) <= CALLERS, callers.statuses
    await deployment.audit_ledger()
