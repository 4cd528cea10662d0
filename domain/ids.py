"""Public ids."""

import secrets
import string

_ALPHABET = string.ascii_lowercase + string.digits


def new_id(prefix: str) -> str:
    """A fresh id that nobody can guess, like `cr_4k1t9zq0m2x7c8v5b3n6`."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(20))}"
