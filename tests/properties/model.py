"""The rules of `ledger.md` once more, in memory and as plainly as they can be said. Imports nothing of the product."""

from dataclasses import dataclass, field

from tests.properties.operations import (
    BUYS,
    REWARDS,
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
    Void,
    Weather,
)


@dataclass
class Lot:
    """Points of one award."""

    points: int
    left: int
    day: int
    expires: bool
    expired: bool = False


@dataclass
class Purchase:
    """One redemption; `drawn` is what its attempt holds of which lot."""

    reward: Reward
    attempt: int = 0
    status: str = "none"
    drawn: list[tuple[Lot, int]] = field(default_factory=list[tuple[Lot, int]])
    is_used: bool = False
    is_wished_back: bool = False
    is_deleted: bool = False
    """At Shopify, by a refund that is not through."""
    is_kept: bool = False
    """For good, as a refund has found out that it was used."""

    @property
    def is_captured(self) -> bool:
        """Whether the points were spent, given back since or not."""
        return self.status in ("active", "expired")

    def is_held_by(self, attempt: int) -> bool:
        """Whether the attempt has points of its own in hand."""
        return self.status == "pending" and self.attempt == attempt

    def is_over_for(self, attempt: int) -> bool:
        """Whether the attempt has failed, or a later one has begun."""
        return self.attempt > attempt or (self.attempt == attempt and self.status == "failed")


def _purchases() -> list[Purchase]:
    return [Purchase(REWARDS[name]) for name in BUYS]


@dataclass
class Model:
    """One customer. Lots are in the order in which they came to be."""

    lots: list[Lot] = field(default_factory=list[Lot])
    purchases: list[Purchase] = field(default_factory=_purchases)
    late: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    at_shopify: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    """Attempts whose code exists there although nobody heard so."""

    @property
    def balance(self) -> int:
        """What can be spent now."""
        return sum(lot.left for lot in self.lots if not lot.expired)

    def expect(self, operation: Operation) -> Outcome | None:
        """Do the operation; tells how it answers, or None where either answer is right."""
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
            case Void():
                # How far a void gets under a fault is Shopify's matter; it never moves points or a status.
                return Outcome.DONE if message.weather is Weather.FAIR else None

    def lot_to_expire(self, operation: Expire) -> int | None:
        """The place of the lot that is meant; None when no lot is left that expires."""
        candidates = [place for place, lot in enumerate(self.lots) if lot.expires and not lot.expired]
        return candidates[operation.which % len(candidates)] if candidates else None

    def _expire(self, operation: Expire) -> None:
        place = self.lot_to_expire(operation)
        if place is not None:
            self.lots[place].expired = True

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

    def _is_sold_out(self, reward: Reward) -> bool:
        places = [one for one in self.purchases if one.reward is reward and one.status in ("pending", "active")]
        return reward.cap is not None and len(places) >= reward.cap

    def _draw(self, missing: int) -> list[tuple[Lot, int]]:
        drawn: list[tuple[Lot, int]] = []
        # Sorting keeps lots of one day in the order in which they came to be.
        for lot in sorted((lot for lot in self.lots if not lot.expired), key=lambda lot: lot.day):
            taken = min(lot.left, missing)
            lot.left -= taken
            missing -= taken
            drawn += [(lot, taken)] if taken else []
        return drawn

    def _generate(self, message: Generate) -> Outcome:
        purchase, whose = self.purchases[message.redemption], (message.redemption, message.attempt)
        if purchase.is_captured:
            return Outcome.DONE
        if not purchase.is_held_by(message.attempt) or whose in self.late:
            return Outcome.CLOSED
        # A discount that is there already is found and adopted: faults of its creation do not matter any more.
        is_heard = message.weather is Weather.FAIR or whose in self.at_shopify
        if message.weather in (Weather.REFUSED, Weather.DOWN) or not is_heard:
            if message.weather is Weather.LOST:
                self.at_shopify.add(whose)
            return Outcome.FAILED
        purchase.status = "active"
        return Outcome.DONE

    def _release(self, message: Release) -> Outcome:
        purchase = self.purchases[message.redemption]
        if purchase.is_captured:
            return Outcome.CAPTURED if purchase.attempt == message.attempt else Outcome.DONE
        if purchase.is_held_by(message.attempt):
            purchase.status = "failed"
            self._give_back(purchase)
        elif purchase.is_over_for(message.attempt):
            return Outcome.DONE
        elif purchase.status == "pending":
            return Outcome.WAIT
        else:
            # A tombstone: nothing was reserved, and now nothing will be.
            purchase.attempt, purchase.status = message.attempt, "failed"
        return Outcome.DONE

    def _refund(self, wish: Refund) -> Outcome:
        purchase = self.purchases[wish.redemption]
        if purchase.status == "expired":
            return Outcome.DONE
        if purchase.status != "active" or purchase.is_kept:
            return Outcome.REFUSED
        purchase.is_wished_back = True
        if wish.weather not in (Weather.FAIR, Weather.LOST):
            return Outcome.FAILED
        if purchase.is_used:
            purchase.is_kept = True
            return Outcome.REFUSED
        purchase.is_deleted = True
        if wish.weather is Weather.LOST:
            return Outcome.FAILED
        purchase.status = "expired"
        self._give_back(purchase)
        return Outcome.DONE

    def _give_back(self, purchase: Purchase) -> None:
        for lot, points in purchase.drawn:
            if lot.expired and lot.left:
                # Others of its points have expired and stay so; these come back beside them.
                self.lots.append(Lot(points, points, lot.day, expires=True))
            else:
                lot.left += points
                lot.expired = False
