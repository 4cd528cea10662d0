"""Links to lists of workflows."""

from pathlib import Path

import pytest

from local_stack.views import VIEWS, view_url

DOCUMENT = Path(__file__).parents[2] / "docs" / "searches.md"


@pytest.mark.parametrize(("name", "query"), VIEWS.items())
def test_the_documented_links_are_those_that_up_prints(name: str, query: str) -> None:
    assert f"- [{name}]({view_url('http://127.0.0.1:8233', query)})" in DOCUMENT.read_text()
