"""Public ids and workflow ids."""

import re
import secrets
import string

_ALPHABET = string.ascii_lowercase + string.digits


def new_redemption_id() -> str:
    """A random id, like `cr_4k1t9zq0m2x7c8v5b3n6`."""
    return _new_id("cr")


def new_earning_id() -> str:
    """A random id, like `cer_4k1t9zq0m2x7c8v5b3n6`."""
    return _new_id("cer")


def new_subscription_id() -> str:
    """A random id, like `whsub_4k1t9zq0m2x7c8v5b3n6`."""
    return _new_id("whsub")


def new_reward_id() -> str:
    """A random id, like `reward_4k1t9zq0m2x7c8v5b3n6`."""
    return _new_id("reward")


def new_answer_id() -> str:
    """A random id of a stored answer, like `answer_4k1t9zq0m2x7c8v5b3n6`."""
    return _new_id("answer")


def purchase_workflow_id(redemption_id: str, attempt: int) -> str:
    """Workflow id of one attempt."""
    return f"redemption-{redemption_id}-{attempt}"


def settlement_workflow_id(redemption_id: str, attempt: int) -> str:
    """Workflow id of the recovery workflow of an attempt whose own workflow has ended early."""
    return f"settlement-{redemption_id}-{attempt}"


def attempt_workflow_ids(redemption_id: str, attempt: int) -> tuple[str, str]:
    """The workflow ids that can work on an attempt: the purchase, then its recovery workflow."""
    return purchase_workflow_id(redemption_id, attempt), settlement_workflow_id(redemption_id, attempt)


def refund_workflow_id(redemption_id: str) -> str:
    """Workflow id of a redemption's refund."""
    return f"refund-{redemption_id}"


def reissue_workflow_id(redemption_id: str, order_id: str) -> str:
    """Workflow id of the reissue of a redemption's code after an order was cancelled or refunded."""
    return f"reissue-{redemption_id}-{order_id}"


def webhook_workflow_id(shop_domain: str, webhook_id: str) -> str:
    """Workflow id that processes one Shopify webhook."""
    return f"webhook-{shop_domain}-{webhook_id}"


def parse_workflow_id(workflow_id: str) -> tuple[str, int | None] | None:
    """Redemption id and attempt named by a workflow id. None for other workflows.

    The attempt of a refund or reissue is None.
    """
    if match := re.fullmatch(r"reissue-(cr_[a-z0-9]+)-.+", workflow_id):
        return match[1], None
    match = re.fullmatch(r"(?:redemption|settlement|refund)-(cr_[a-z0-9]+)(?:-([0-9]+))?", workflow_id)
    return match and (match[1], int(match[2]) if match[2] else None)


def _new_id(prefix: str) -> str:
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(20))}"
