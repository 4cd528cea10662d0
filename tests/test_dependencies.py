"""The audit of dependencies fails for vulnerabilities, and for nothing else."""

from pathlib import Path

import pytest

from tests.dependencies import audit, judge

FOUND = "Found 2 known vulnerabilities in 1 package\n"
UNREACHABLE = "Traceback ...\nrequests.exceptions.ConnectionError: Failed to resolve 'api.osv.dev'\n"


@pytest.mark.parametrize(
    ("status", "errors", "expected", "message"),
    [
        (0, "No known vulnerabilities found\n", 0, "no known vulnerabilities"),
        (1, FOUND, 1, "jinja2 2.4.1 PYSEC-2014-8"),
        (1, UNREACHABLE, 0, "not audited, requests.exceptions.ConnectionError: Failed to resolve 'api.osv.dev'"),
        (1, "", 0, "not audited"),
    ],
)
def test_only_vulnerabilities_fail(status: int, errors: str, expected: int, message: str) -> None:
    found, text = judge(status, "jinja2 2.4.1 PYSEC-2014-8 2.7.3\n" if errors == FOUND else "", errors)

    assert found == expected
    assert message in text


def test_a_database_that_hangs_delays_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("jinja2==2.4.1\n")

    assert audit(lock, seconds=0.01) == (0, "dependencies: not audited, no answer within 0.01 s")
