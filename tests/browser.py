"""The browser of tests that need one."""

import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_a_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a browser: install chromium (Debian: apt-get install chromium), none is downloaded"
)
