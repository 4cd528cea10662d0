"""E-mail addresses: one form in which they are compared, searched and unique."""

import unicodedata


def address_key(email: str) -> str:
    """The address in lower case, composed (Unicode NFC): the same for every way to write the address.

    Computed here and stored, as the database's `lower` depends on its locale. Not case-folded: that would make
    different addresses equal, such as those with `ß` and `ss`.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", email).lower())
