"""How pytest's processes share the tests."""

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

ONE_BY_ONE = "tests/e2e/"
"""Its tests have deadlines and start many processes: all run in the same process, with one deployment."""


class Scheduling(LoadScopeScheduling):
    """Runs the tests of a file in one process.

    Not by `--dist loadgroup`: it groups nothing with pytest 9.2 (pytest-xdist issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        return ONE_BY_ONE if nodeid.startswith(ONE_BY_ONE) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return Scheduling(config, log)
