"""Reading answers."""

from typing import Any

import httpx


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The one error of an answer, after checking what all errors have."""
    [error] = answer.json()["errors"]
    assert answer.headers["content-type"] == "application/json"
    assert error["status"] == str(answer.status_code)
    assert error["meta"]["retry"] in ("same_key", "new_key", "never")
    return error


def ids_of(answer: httpx.Response) -> list[str]:
    """The ids of a list, in its order."""
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["data"]]


def values_of(answer: httpx.Response, attribute: str) -> list[Any]:
    """One attribute of every row of a list, in its order."""
    assert answer.status_code == 200, answer.text
    return [one["attributes"][attribute] for one in answer.json()["data"]]
