"""The state machines: every transition of each of them."""

from itertools import product

import pytest

from domain.deliveries import UNSENT, DeliveryStatus
from domain.discounts import CodeState
from domain.redemptions import CAPTURED, RedemptionStatus
from domain.refunds import RefundStatus
from domain.reissues import ReissueStatus
from domain.states import State
from domain.subscriptions import WebhookDeliveryStatus

ALLOWED: dict[type[State], str] = {
    RedemptionStatus: "pending>active pending>failed failed>pending active>used active>expired expired>used "
    "used>active used>expired",
    CodeState: "planned>live planned>void planned>fenced planned>foreign live>void",
    DeliveryStatus: "pending>sent pending>failed pending>unknown pending>skipped failed>pending failed>skipped "
    "failed>sent skipped>sent skipped>unknown unknown>sent",
    RefundStatus: "pending>done pending>refused refused>pending",
    ReissueStatus: "pending>done pending>refused",
    WebhookDeliveryStatus: "unsent>sent unsent>refused",
}
TRANSITIONS = [pair for machine in ALLOWED for pair in product(machine, machine)]


@pytest.mark.parametrize(("old", "new"), TRANSITIONS, ids=str)
def test_only_the_listed_transitions_are_allowed(old: State, new: State) -> None:
    if old is new or f"{old}>{new}" in ALLOWED[type(old)].split():
        old.check_transition(new)
    else:
        with pytest.raises(AssertionError, match=f"{type(old).__name__} cannot change from {old} to {new}"):
            old.check_transition(new)


def test_every_machine_is_tested() -> None:
    assert set(State.__subclasses__()) == set(ALLOWED)


def test_captured_redemptions_never_become_pending_or_failed() -> None:
    assert {one for one in RedemptionStatus if one.is_captured} == CAPTURED
    assert all(one.successors <= CAPTURED for one in CAPTURED)


def test_only_unsent_deliveries_can_be_skipped() -> None:
    assert {one for one in DeliveryStatus if DeliveryStatus.SKIPPED in one.successors} == set(UNSENT)
