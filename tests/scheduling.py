"""How pytest's processes share the tests."""

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

END_TO_END = "tests/e2e/"
"""Its tests have deadlines, and start many processes: they run in two processes, each with one deployment."""

SECOND_HALF = "tests/e2e/test_r"
"""The halves take equally long."""


class Scheduling(LoadScopeScheduling):
    """Runs the tests of a file in one process.

    Not by `--dist loadgroup`: it groups nothing with pytest 9.2 (pytest-xdist issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if not file.startswith(END_TO_END):
            return file
        return END_TO_END if file < SECOND_HALF else SECOND_HALF


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return Scheduling(config, log)
