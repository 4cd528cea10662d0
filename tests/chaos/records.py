"""What the run itself remembers: what people were told, and what was done to the parts."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from api.errors import DATABASE_UNAVAILABLE

DECIDED = frozenset({200, 201, 403, 404, 422})
"""Final for what was asked: whoever asks again hears the same."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One request; `status` is None when the connection broke before there was an answer."""

    api: str
    began: datetime
    ended: datetime
    status: int | None
    text: str

    @property
    def is_decided(self) -> bool:
        """Whether it is final."""
        return self.status in DECIDED

    @property
    def is_blind(self) -> bool:
        """Whether it was given without the database: it says nothing about what was asked."""
        return DATABASE_UNAVAILABLE in self.text

    @property
    def word(self) -> str:
        """The status and the error's code, to be counted."""
        if self.status is None:
            return "no answer (connection lost)"
        return f"{self.status} {_code(self.text)}".rstrip()

    @property
    def redemption_id(self) -> str:
        """Of a purchase's 201."""
        return _json(self.text)["data"]["id"]

    @property
    def discount_code(self) -> str:
        """Of a purchase's 201."""
        return self._attributes["discount_code"]

    @property
    def adjustment(self) -> int:
        """Of an adjustment's 200: what really moved."""
        return self._attributes["adjustment"]

    @property
    def _attributes(self) -> dict[str, Any]:
        return _json(self.text)["data"]["attributes"]


@dataclass(kw_only=True)
class Tally:
    """What was done, counted and in order."""

    kills: Counter[str] = field(default_factory=Counter[str])
    acts: Counter[str] = field(default_factory=Counter[str])
    spells: Counter[str] = field(default_factory=Counter[str])
    """Who and which fault → how often it was let loose; each may strike many requests, or none."""
    diary: list[str] = field(default_factory=list[str])

    def note(self, what: str) -> None:
        """Write it in the diary."""
        self.diary.append(f"{datetime.now(UTC):%H:%M:%S.%f} {what}")


def _json(text: str) -> Any:
    return TypeAdapter(Any).validate_json(text)


def _code(text: str) -> str:
    if not text.startswith('{"errors"'):
        return ""
    return str(_json(text)["errors"][0]["code"])
