"""The vendors that a shop has credentials of."""

from enum import StrEnum


class Vendor(StrEnum):
    SHOPIFY = "shopify"
    KLAVIYO = "klaviyo"
    OMNISEND = "omnisend"
    POSTSCRIPT = "postscript"

    @property
    def secret_field(self) -> str:
        """The field of the credentials that holds the secret, in import files and in the vault."""
        return "access_token" if self is Vendor.SHOPIFY else "api_key"


class SecretName(StrEnum):
    """The secrets of a shop: one for each vendor, and the one that signs the shop's webhooks."""

    SHOPIFY = "shopify"
    KLAVIYO = "klaviyo"
    OMNISEND = "omnisend"
    POSTSCRIPT = "postscript"
    WEBHOOK_SECRET = "webhook_secret"  # noqa: S105
