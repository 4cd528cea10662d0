"""The rules of the ledger's design once more, in memory and as simple as possible. Imports nothing of the product."""

from dataclasses import dataclass, field

from tests.faults import VendorFault
from tests.properties.operations import (
    REDEEMED,
    REWARDS,
    Cancel,
    Earn,
    Expire,
    Generate,
    Message,
    Operation,
    Outcome,
    Overdue,
    Refund,
    Release,
    Reserve,
    Reward,
    Sweep,
    Use,
)


@dataclass
class Lot:
    points: int
    left: int
    day: int
    expires: bool
    expired: bool = False


@dataclass
class Purchase:
    """One redemption.

    Attributes:
        drawn: points that its attempt holds, by lot.
        is_deleted: at Shopify, by a refund that is not complete.
        is_kept: for good, because a refund has found that the code was used.
        may_reappear: an earlier request for its code had no response, so a refund deactivates and never deletes it.
    """

    reward: Reward
    attempt: int = 0
    status: str = "none"
    drawn: list[tuple[Lot, int]] = field(default_factory=list[tuple[Lot, int]])
    is_used: bool = False
    refund_requested: bool = False
    is_deleted: bool = False
    is_kept: bool = False
    may_reappear: bool = False

    @property
    def is_captured(self) -> bool:
        """Whether the points were spent, refunded since or not."""
        return self.status in ("active", "expired")

    def is_held_by(self, attempt: int) -> bool:
        return self.status == "pending" and self.attempt == attempt

    def is_over_for(self, attempt: int) -> bool:
        """Whether the attempt has failed, or a later one has begun."""
        return self.attempt > attempt or (self.attempt == attempt and self.status == "failed")


def _purchases() -> list[Purchase]:
    return [Purchase(REWARDS[name]) for name in REDEEMED]


@dataclass
class Model:
    """One customer. Lots are in the order of their creation.

    Attributes:
        late: attempts after their deadline.
        unanswered: attempts that requested a discount and had no response.
        at_shopify: those of them whose discount exists at Shopify.
    """

    lots: list[Lot] = field(default_factory=list[Lot])
    purchases: list[Purchase] = field(default_factory=_purchases)
    late: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    unanswered: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    at_shopify: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])

    @property
    def balance(self) -> int:
        return sum(lot.left for lot in self.lots if not lot.expired)

    def expect(self, operation: Operation) -> Outcome | None:
        """Apply the operation. Returns its outcome, or None where any outcome is right."""
        match operation:
            case Earn():
                self.lots.append(Lot(operation.points, operation.points, operation.day, operation.expires))
            case Expire():
                self._expire(operation)
            case Sweep():
                for lot in self.lots:
                    lot.left = 0 if lot.expired else lot.left
            case Overdue():
                self.late.add((operation.redemption, operation.attempt))
            case Use():
                purchase = self.purchases[operation.redemption]
                purchase.is_used |= purchase.status == "active" and not purchase.is_deleted
            case Cancel():
                self._cancel(self.purchases[operation.redemption], operation.fault)
            case _:
                return self._answer(operation)
        return Outcome.DONE

    def _answer(self, message: Message | Refund) -> Outcome | None:
        match message:
            case Reserve():
                return self._reserve(message)
            case Generate():
                return self._generate(message)
            case Release():
                return self._release(message)
            case Refund():
                return self._refund(message)
            case _:
                # A void never moves points or a status. How far it gets under a fault depends on Shopify.
                return None if message.fault else Outcome.DONE

    def lot_to_expire(self, operation: Expire) -> int | None:
        """Index of the lot, or None if no lot is left that can expire."""
        candidates = [index for index, lot in enumerate(self.lots) if lot.expires and not lot.expired]
        return candidates[operation.position % len(candidates)] if candidates else None

    def _expire(self, operation: Expire) -> None:
        index = self.lot_to_expire(operation)
        if index is not None:
            self.lots[index].expired = True

    def _reserve(self, message: Reserve) -> Outcome:
        purchase = self.purchases[message.redemption]
        if purchase.is_captured or purchase.is_held_by(message.attempt):
            return Outcome.DONE
        if purchase.is_over_for(message.attempt):
            return Outcome.CLOSED
        if purchase.status == "pending":
            return Outcome.WAIT
        if (message.redemption, message.attempt) in self.late:
            return Outcome.CLOSED
        if self.balance < purchase.reward.cost or self._is_sold_out(purchase.reward):
            return Outcome.REFUSED
        purchase.attempt, purchase.status = message.attempt, "pending"
        purchase.drawn = self._draw(purchase.reward.cost)
        return Outcome.DONE

    @staticmethod
    def _cancel(purchase: Purchase, fault: VendorFault | None) -> None:
        """The purchase has a new code, which was neither used nor deleted. Otherwise nothing has changed."""
        if purchase.status == "active":
            purchase.may_reappear = fault is not None
            purchase.is_used = purchase.is_deleted = purchase.is_kept = False

    def _is_sold_out(self, reward: Reward) -> bool:
        taken = [one for one in self.purchases if one.reward is reward and one.status in ("pending", "active")]
        # There is one customer, so a limit per customer is a cap.
        return any(most is not None and len(taken) >= most for most in (reward.cap, reward.limit))

    def _draw(self, missing: int) -> list[tuple[Lot, int]]:
        drawn: list[tuple[Lot, int]] = []
        # Sorting is stable: lots of one day stay in the order of their creation.
        for lot in sorted((lot for lot in self.lots if not lot.expired), key=lambda lot: lot.day):
            taken = min(lot.left, missing)
            lot.left -= taken
            missing -= taken
            drawn += [(lot, taken)] if taken else []
        return drawn

    def _generate(self, message: Generate) -> Outcome:
        purchase, attempt = self.purchases[message.redemption], (message.redemption, message.attempt)
        if purchase.is_captured:
            return Outcome.DONE
        if not purchase.is_held_by(message.attempt) or attempt in self.late:
            return Outcome.CLOSED
        # A discount that exists is found and adopted, so faults of its creation have no effect.
        has_no_response = message.fault in (VendorFault.LOST, VendorFault.DROPPED)
        is_adopted = attempt in self.at_shopify and has_no_response
        if message.fault and not is_adopted:
            if has_no_response:
                self.unanswered.add(attempt)
            if message.fault is VendorFault.LOST:
                self.at_shopify.add(attempt)
            return Outcome.FAILED
        purchase.may_reappear = attempt in self.unanswered
        purchase.status = "active"
        return Outcome.DONE

    def _release(self, message: Release) -> Outcome:
        purchase = self.purchases[message.redemption]
        if purchase.is_captured:
            return Outcome.CAPTURED if purchase.attempt == message.attempt else Outcome.DONE
        if purchase.is_held_by(message.attempt):
            purchase.status = "failed"
            self._return_points(purchase)
        elif purchase.is_over_for(message.attempt):
            return Outcome.DONE
        elif purchase.status == "pending":
            return Outcome.WAIT
        else:
            # A tombstone: nothing was reserved, and a late reserve is refused.
            purchase.attempt, purchase.status = message.attempt, "failed"
        return Outcome.DONE

    def _refund(self, refund: Refund) -> Outcome:
        purchase = self.purchases[refund.redemption]
        if purchase.status == "expired":
            return Outcome.DONE
        if purchase.status != "active" or purchase.is_kept:
            return Outcome.REFUSED
        purchase.refund_requested = True
        if refund.fault not in (None, VendorFault.LOST):
            return Outcome.FAILED
        if purchase.is_used:
            purchase.is_kept = True
            return Outcome.REFUSED
        purchase.is_deleted = True
        if refund.fault is VendorFault.LOST and not purchase.may_reappear:
            return Outcome.FAILED
        purchase.status = "expired"
        self._return_points(purchase)
        return Outcome.DONE

    def _return_points(self, purchase: Purchase) -> None:
        for lot, points in purchase.drawn:
            if lot.expired and lot.left:
                # Other points of the lot have expired and stay so; these come back in a new lot.
                self.lots.append(Lot(points, points, lot.day, expires=True))
            else:
                lot.left += points
                lot.expired = False
