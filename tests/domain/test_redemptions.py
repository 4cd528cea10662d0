"""Standing of attempts, eligibility, codes and ids."""

import re

import pytest

from domain.discounts import new_code
from domain.eligibility import Member, Offer, RefusalCode, refusals
from domain.ids import (
    attempt_workflow_ids,
    new_redemption_id,
    parse_workflow_id,
    purchase_workflow_id,
    refund_workflow_id,
    webhook_workflow_id,
)
from domain.redemptions import RedemptionStatus, Standing, standing


@pytest.mark.parametrize(
    ("attempt", "row_attempt", "row_status", "expected"),
    [
        (1, 1, "pending", Standing.HELD),
        (1, 1, "failed", Standing.CLOSED),
        (1, 1, "active", Standing.CAPTURED),
        (2, 1, "failed", Standing.OPEN),
        (2, 1, "pending", Standing.OCCUPIED),
        (2, 1, "active", Standing.CAPTURED),
        (2, 1, "used", Standing.CAPTURED),
        (1, 2, "pending", Standing.CLOSED),
        (1, 2, "failed", Standing.CLOSED),
        (1, 2, "expired", Standing.CAPTURED),
    ],
)
def test_the_row_decides_between_attempts(attempt: int, row_attempt: int, row_status: str, expected: Standing) -> None:
    assert standing(attempt, row_attempt=row_attempt, row_status=RedemptionStatus(row_status)) is expected


def a_member(*, excluded: bool = False, vip_tier_id: str | None = None, points: int = 500) -> Member:
    return Member(excluded=excluded, vip_tier_id=vip_tier_id, points=points)


def an_offer(*, vip_tier_id: str | None = None, redemptions: int = 0) -> Offer:
    return Offer(points_cost=500, vip_tier_id=vip_tier_id, vip_tier="Gold", max_redemptions=10, redemptions=redemptions)


def codes(member: Member | None, offer: Offer | None) -> list[RefusalCode]:
    return [refusal.code for refusal in refusals(member, offer)]


def test_just_enough_points_are_enough() -> None:
    assert codes(a_member(points=500), an_offer()) == []


def test_refusals_are_ordered() -> None:
    assert codes(a_member(excluded=True, points=499), an_offer(vip_tier_id="tier_gold", redemptions=10)) == [
        RefusalCode.CUSTOMER_EXCLUDED,
        RefusalCode.VIP_TIER_REQUIRED,
        RefusalCode.INSUFFICIENT_POINTS,
        RefusalCode.REWARD_SOLD_OUT,
    ]
    assert codes(None, None) == [RefusalCode.CUSTOMER_NOT_FOUND, RefusalCode.REWARD_NOT_FOUND]


def test_a_higher_tier_does_not_include_lower_ones() -> None:
    member, offer = a_member(vip_tier_id="gold"), an_offer(vip_tier_id="silver")

    assert codes(member, offer) == [RefusalCode.VIP_TIER_REQUIRED]


def test_codes_and_ids_are_unique_and_well_formed() -> None:
    codes = {new_code("MAGE") for _ in range(1_000)}
    ids = {new_redemption_id() for _ in range(1_000)}

    assert len(codes) == len(ids) == 1_000
    assert all(re.fullmatch(r"MAGE-[0-9A-HJKMNP-TV-Z]{10}", code) for code in codes)
    assert all(re.fullmatch(r"cr_[a-z0-9]{20}", one) for one in ids)


def test_workflow_ids_can_be_parsed() -> None:
    assert purchase_workflow_id("cr_abc", 2) == "redemption-cr_abc-2"
    assert [parse_workflow_id(one) for one in attempt_workflow_ids("cr_abc", 2)] == [("cr_abc", 2)] * 2
    assert parse_workflow_id(refund_workflow_id("cr_abc")) == ("cr_abc", None)
    assert parse_workflow_id(webhook_workflow_id("a.myshopify.com", "1")) is None
