"""Currencies and their smallest units."""

from decimal import Decimal

_USUAL_DECIMALS = 2
_DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_EXCEPTIONS = {currency: decimals for decimals, names in _DECIMALS.items() for currency in names.split()}
"""Currency → decimals, where they are not two. Source: ISO 4217, list one, column "minor unit"."""


def decimals_of(currency: str) -> int:
    """Decimals of an amount in the currency's smallest unit: 2 for `GBP`, 0 for `JPY`, 3 for `KWD`."""
    return _EXCEPTIONS.get(currency, _USUAL_DECIMALS)


def is_exact(amount: Decimal, currency: str) -> bool:
    """Whether the currency can express the amount. Zeros at the end do not count."""
    return amount == round(amount, decimals_of(currency))


def money_text(amount: Decimal, currency: str) -> str:
    """The amount with the currency's decimals: `5.00` GBP, `500` JPY, `1.500` KWD."""
    return f"{amount:.{decimals_of(currency)}f}"
