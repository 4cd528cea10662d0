"""Kinds of activity-log entries, and which of them are written once per redemption."""

from enum import StrEnum


class ActivityKind(StrEnum):
    """What an entry of a shop's activity log reports."""

    REWARD_REDEEMED = "reward_redeemed"
    REWARD_REFUNDED = "reward_refunded"
    POINTS_ADJUSTED = "points_adjusted"
    POINTS_EXPIRED = "points_expired"
    CUSTOMER_CREATED = "customer_created"
    CUSTOMER_UPDATED = "customer_updated"
    CUSTOMERS_MERGED = "customers_merged"
    CODE_USED = "discount_code_used"
    CODE_USED_AFTER_REFUND = "discount_code_used_after_refund"
    CODE_USED_AFTER_EXPIRY = "discount_code_used_after_expiry"
    UNPAID_CODE_USED = "unpaid_discount_code_used"
    UNPAID_CODE_REMOVED = "unpaid_discount_code_removed"
    CODE_MISSING = "discount_code_missing"
    ORDER_CANCELLED = "order_cancelled"
    CUSTOMER_DATA_REQUESTED = "customer_data_requested"
    DELIVERY_RETRY_REQUESTED = "delivery_retry_requested"
    DELIVERY_SKIP_REQUESTED = "delivery_skip_requested"
    RESTART_REQUESTED = "restart_requested"
    SHOP_CREATED = "shop_created"
    SHOP_UPDATED = "shop_updated"
    CREDENTIALS_SET = "credentials_set"
    REWARD_CREATED = "reward_created"
    REWARD_UPDATED = "reward_updated"
    REWARD_DELETED = "reward_deleted"
    SUBSCRIPTION_CREATED = "webhook_subscription_created"
    SUBSCRIPTION_UPDATED = "webhook_subscription_updated"
    SUBSCRIPTION_DELETED = "webhook_subscription_deleted"
    SUBSCRIPTION_SECRET_ROTATED = "webhook_subscription_secret_rotated"  # noqa: S105
