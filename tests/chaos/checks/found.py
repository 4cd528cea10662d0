"""What a check finds."""

from collections.abc import Iterator

Found = Iterator[tuple[str, str]]
"""What it is about, and what is wrong with it."""
