"""`.env.example` lists all settings and their defaults."""

import itertools
import re
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from settings import CodecSettings, Settings

EXAMPLE = Path(__file__).parents[1] / ".env.example"
FIELDS = {**Settings.model_fields, **CodecSettings.model_fields}
LINE = re.compile(r"^(?P<comment># )?(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)$")


def entries() -> dict[str, tuple[bool, str, str]]:
    """By name: whether the line is commented out, its value, and the line above it."""
    lines = EXAMPLE.read_text().splitlines()
    matches = [(LINE.match(line), above) for above, line in itertools.pairwise(lines)]
    return {match["name"]: (bool(match["comment"]), match["value"], above) for match, above in matches if match}


def default_of(field: FieldInfo) -> str:
    default: object = field.get_default()
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default in (None, ()) else str(default)


def test_the_example_has_exactly_the_settings() -> None:
    assert set(entries()) == {name.upper() for name in FIELDS}


def test_no_setting_is_listed_twice() -> None:
    names = [match["name"] for line in EXAMPLE.read_text().splitlines() if (match := LINE.match(line))]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_setting_has_description_and_default(name: str) -> None:
    field = FIELDS[name]
    commented_out, value, above = entries()[name.upper()]

    assert above.startswith("# ")
    assert commented_out is not field.is_required()
    assert value == ("" if field.is_required() else default_of(field))
