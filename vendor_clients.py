"""The clients of the vendors, as the settings say: for worker and command line."""

import httpx

from clients.destinations import Limits
from clients.klaviyo import Klaviyo
from clients.marketing import MarketingClient
from clients.omnisend import Omnisend
from clients.postscript import Postscript
from clients.shopify import BACKGROUND_LIMITS, Shopify
from domain.vendors import Vendor
from settings import Settings


def shopify_client(settings: Settings, http: httpx.AsyncClient, limits: Limits = BACKGROUND_LIMITS) -> Shopify:
    return Shopify(
        http, url_template=settings.shopify_admin_url, api_version=settings.shopify_api_version, limits=limits
    )


def marketing_clients(settings: Settings, http: httpx.AsyncClient) -> dict[Vendor, MarketingClient]:
    return {
        Vendor.KLAVIYO: Klaviyo(http, base_url=settings.klaviyo_url, revision=settings.klaviyo_revision),
        Vendor.OMNISEND: Omnisend(http, base_url=settings.omnisend_url, version=settings.omnisend_version),
        Vendor.POSTSCRIPT: Postscript(http, base_url=settings.postscript_url),
    }
