"""Shopify's Admin API about the app itself: its access scopes and webhook subscriptions."""

from clients.shopify import Shopify, Store
from clients.shopify_responses import ShopifyModel, UserError


class _Scope(ShopifyModel):
    handle: str


class _Installation(ShopifyModel):
    access_scopes: tuple[_Scope, ...]


class WebhookSubscription(ShopifyModel):
    """A subscription of the app. `topic`: like `ORDERS_CREATE`."""

    topic: str
    uri: str


class _Subscriptions(ShopifyModel):
    nodes: tuple[WebhookSubscription, ...]


class _Created(ShopifyModel):
    user_errors: tuple[UserError, ...] = ()


class ShopifyApp(Shopify):
    """Calls of an operator. They raise as those of `Shopify`."""

    async def access_scopes(self, store: Store) -> set[str]:
        """The access scopes of the token, like `read_orders`."""
        found = await self._execute(store, "currentAppInstallation", {}, self._redactor(store))
        return {scope.handle for scope in self._parse(_Installation, found).access_scopes}

    async def webhook_subscriptions(self, store: Store) -> tuple[WebhookSubscription, ...]:
        """The app's own subscriptions in the shop. An app needs few, so one page has all."""
        found = await self._execute(store, "webhookSubscriptions", {}, self._redactor(store))
        return self._parse(_Subscriptions, found).nodes

    async def subscribe(self, store: Store, topic: str, uri: str) -> str | None:
        """Create a subscription, in JSON. Returns why Shopify refused it, or None."""
        variables = {"topic": topic, "webhookSubscription": {"uri": uri}}
        found = await self._execute(store, "webhookSubscriptionCreate", variables, self._redactor(store))
        errors = self._parse(_Created, found).user_errors
        return "; ".join(error.message for error in errors) or None
