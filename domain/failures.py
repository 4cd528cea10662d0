"""Why an attempt at a redemption failed."""

from enum import StrEnum


class FailureCode(StrEnum):
    """What ended an attempt before its capture."""

    CONFIGURATION_REJECTED = "configuration_rejected"
    """Shopify does not accept the shop's access token, or there is none that can be read."""
    REQUEST_REJECTED = "request_rejected"
    """Shopify does not accept this discount."""
    SHOPIFY_UNAVAILABLE = "shopify_unavailable"
    """Shopify did not answer, or not in time."""
    TOO_LATE = "too_late"
    """The deadline had passed before the attempt was made, or another attempt had replaced it."""
    CANCELLED = "cancelled"
    """An operator cancelled the workflow."""
    WORKFLOW_GONE = "workflow_gone"
    """The workflow was terminated, timed out or lost, and a recovery workflow released the points."""
    ENGINE_UNAVAILABLE = "engine_unavailable"
    """Database or worker failed."""
