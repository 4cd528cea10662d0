"""What vendors answered to the worker's calls, from the rows that the calls leave in the ledger anyway."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from db.statements import statement


@dataclass(frozen=True, kw_only=True)
class VendorAnswer:
    """The latest answer of its kind. `reason`: why the vendor rejected the credentials; None: it accepted them."""

    shop: str
    channel: str
    at: datetime
    reason: str | None


# Keys are searched, as their index is by time. A rejection is known until an operator retries or skips the delivery.
_ANSWERS = statement("""
    WITH today AS (SELECT redemption_id FROM idempotency_keys WHERE created_at > now() - interval '1 day'),
    answers AS (
        SELECT d.shop_id, d.channel, d.sent_at AS at, NULL AS reason
        FROM today JOIN deliveries d USING (redemption_id) WHERE d.sent_at IS NOT NULL
        UNION ALL
        SELECT r.shop_id, 'metafields', r.captured_at, NULL
        FROM today JOIN redemptions r ON r.id = redemption_id WHERE r.captured_at IS NOT NULL
        UNION ALL
        SELECT shop_id, channel, updated_at, last_error FROM deliveries
        WHERE status = ANY(:unsent) AND last_error LIKE ANY (ARRAY['%HTTP 401%', '%HTTP 403%'])
        UNION ALL
        SELECT shop_id, 'metafields', failed_at, reason FROM failed_attempts
        WHERE failed_at > now() - interval '1 day' AND code = :configuration_rejected
    )
    SELECT s.domain AS shop, a.channel, a.reason, max(a.at) AS at
    FROM answers a JOIN shops s ON s.id = a.shop_id GROUP BY 1, 2, 3
""")


async def vendor_answers(session: AsyncSession) -> Sequence[VendorAnswer]:
    """Answers by shop, channel and reason: those of the last day, and rejections that wait for an operator."""
    return [VendorAnswer(**row) for row in (await session.execute(_ANSWERS)).mappings()]
