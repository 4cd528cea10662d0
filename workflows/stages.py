"""Where a run is, as operators search for it."""

from enum import StrEnum

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from activities.attempt import Attempt

SHOP_DOMAIN = SearchAttributeKey.for_keyword("ShopDomain")
CUSTOMER_ID = SearchAttributeKey.for_keyword("CustomerId")
REWARD_ID = SearchAttributeKey.for_keyword("RewardId")
REDEMPTION_STAGE = SearchAttributeKey.for_keyword("RedemptionStage")

SEARCH_ATTRIBUTES = (SHOP_DOMAIN, CUSTOMER_ID, REWARD_ID, REDEMPTION_STAGE)


class Stage(StrEnum):
    """Values of `RedemptionStage`."""

    REDEEMING = "Redeeming"
    COMPENSATING = "Compensating"
    DELIVERING = "Delivering"
    NEEDS_ATTENTION = "NeedsAttention"
    DONE = "Done"


def of_shop(shop_domain: str) -> TypedSearchAttributes:
    """What a run about a shop is found by."""
    return TypedSearchAttributes([SearchAttributePair(SHOP_DOMAIN, shop_domain)])


def searchable(attempt: Attempt, stage: Stage) -> TypedSearchAttributes:
    """What a run about this attempt is found by."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(SHOP_DOMAIN, attempt.shop_domain),
            SearchAttributePair(CUSTOMER_ID, attempt.customer_id),
            SearchAttributePair(REWARD_ID, attempt.reward_id),
            SearchAttributePair(REDEMPTION_STAGE, stage),
        ]
    )
