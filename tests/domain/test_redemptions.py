"""What the redemption's row says to an attempt, and the codes and ids it goes by."""

import re

import pytest

from domain.discounts import new_code
from domain.eligibility import Member, Offer, RefusalCode, refusals
from domain.redemptions import Standing, new_redemption_id, standing, workflow_id


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
def test_the_row_is_the_arbiter(attempt: int, row_attempt: int, row_status: str, expected: Standing) -> None:
    assert standing(attempt, row_attempt=row_attempt, row_status=row_status) is expected


def a_member(*, excluded: bool = False, vip_tier_id: str | None = None, points: int = 500) -> Member:
    return Member(excluded=excluded, vip_tier_id=vip_tier_id, points=points)


def an_offer(*, vip_tier_id: str | None = None, redemptions: int = 0) -> Offer:
    return Offer(points_cost=500, vip_tier_id=vip_tier_id, vip_tier="Gold", max_redemptions=10, redemptions=redemptions)


def test_a_member_with_just_enough_points_is_not_refused() -> None:
    assert list(refusals(a_member(points=500), an_offer())) == []


def test_reasons_come_in_the_order_customer_reward_tier_points_cap() -> None:
    member = a_member(excluded=True, points=499)
    offer = an_offer(vip_tier_id="tier_gold", redemptions=10)

    assert [refusal.code for refusal in refusals(member, offer)] == [
        RefusalCode.CUSTOMER_EXCLUDED,
        RefusalCode.VIP_TIER_REQUIRED,
        RefusalCode.INSUFFICIENT_POINTS,
        RefusalCode.REWARD_SOLD_OUT,
    ]


def test_an_unknown_customer_is_told_of_before_an_unknown_reward() -> None:
    assert [refusal.code for refusal in refusals(None, None)] == [
        RefusalCode.CUSTOMER_NOT_FOUND,
        RefusalCode.REWARD_NOT_FOUND,
    ]


def test_a_higher_tier_does_not_open_the_reward_of_a_lower_one() -> None:
    codes = [refusal.code for refusal in refusals(a_member(vip_tier_id="gold"), an_offer(vip_tier_id="silver"))]

    assert codes == [RefusalCode.VIP_TIER_REQUIRED]


def test_codes_and_ids_have_their_form_and_do_not_repeat() -> None:
    codes = {new_code("MAGE") for _ in range(1_000)}
    ids = {new_redemption_id() for _ in range(1_000)}

    assert len(codes) == len(ids) == 1_000
    assert all(re.fullmatch(r"MAGE-[0-9A-HJKMNP-TV-Z]{10}", code) for code in codes)
    assert all(re.fullmatch(r"cr_[a-z0-9]{20}", one) for one in ids)
    assert workflow_id("cr_abc", 2) == "redemption-cr_abc-2"
