"""What a caller is told of an attempt. Decided answers are results; only what somebody must look at is a failure."""

from pydantic import BaseModel

from domain.eligibility import Refusal


class Answer(BaseModel):
    """Purchased; or refused, with the reason; or neither: the points are back and the same key may try again."""

    purchased: bool
    refusal: Refusal | None = None


PURCHASED = Answer(purchased=True)
UNAVAILABLE = Answer(purchased=False)
