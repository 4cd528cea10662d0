"""Keep to the shops' Shopify budgets, and correct them by the figures of Shopify's answers."""

from datetime import timedelta

from clients.outcomes import NotExecuted
from clients.shopify import Shopify
from database import Sessions
from db.shopify_budgets import store_figures
from domain.shopify_budget import ShopifyBudget


def leave_to_purchases(budget: ShopifyBudget | None, reserve: float) -> None:
    """Raise `NotExecuted` if less than this share of the budget is left for purchases."""
    if budget is not None and (wait := budget.wait_for(reserve * budget.maximum)):
        raise left_to_purchases(wait)


def left_to_purchases(wait: timedelta) -> NotExecuted:
    """The outcome of a call that would leave too little of the budget for purchases."""
    return NotExecuted("Shopify", "the rest of the shop's rate limit is left to purchases", retry_after=wait)


async def correct_budget(
    sessions: Sessions, shopify: Shopify, shop_id: int, domain: str, *, known: ShopifyBudget | None
) -> None:
    """Store the figures of the shop's last answer if they refute the known budget, or there is none.

    Not for every answer, as a purchase would cost another statement.
    """
    reported = shopify.reported_budget(domain)
    if reported is not None and (known is None or known.is_refuted_by(reported)):
        async with sessions() as session:
            await store_figures(session, shop_id, reported)
