"""The settings with which worker, API and commands join a local stack."""

import os
from collections.abc import Mapping

from settings import Settings

SETTINGS = frozenset(name.upper() for name in Settings.model_fields)


def stack_settings(
    *, database_url: str, temporal_address: str, temporal_ui_url: str, encryption_key: str
) -> dict[str, str]:
    """What the stack decides, around what the environment says.

    The engine is ours: its address, no TLS, no key. So is its worker, which is replaced in place and thus unversioned.
    """
    # On a developer's machine one key does what many shops do elsewhere.
    defaults = {"ENCRYPTION_KEYS": encryption_key, "LOG_LEVEL": "INFO", "RATE_LIMIT": "1000/second"}
    given = {name: value for name in sorted(SETTINGS) if not _of_the_engine(name) and (value := os.environ.get(name))}
    decided = {
        "DATABASE_URL": database_url,
        "TEMPORAL_ADDRESS": temporal_address,
        "TEMPORAL_NAMESPACE": "default",
        "TEMPORAL_UI_URL": temporal_ui_url,
        "TEMPORAL_TASK_QUEUE": "pointsaga",
        "LOG_FORMAT": "text",
    }
    return defaults | given | decided


def vendor_settings(vendors: str) -> dict[str, str]:
    """Every vendor's address, in the sandbox."""
    return {
        "SHOPIFY_ADMIN_URL": f"{vendors}/{{shop_domain}}/admin/api/{{version}}/graphql.json",
        "KLAVIYO_URL": f"{vendors}/klaviyo",
        "OMNISEND_URL": f"{vendors}/omnisend",
        "POSTSCRIPT_URL": f"{vendors}/postscript",
    }


def process_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a child: ours, with these settings and no others."""
    rest = {name: value for name, value in os.environ.items() if name not in SETTINGS and not _of_the_engine(name)}
    return {**rest, **settings, "PYTHONUNBUFFERED": "1"}


def _of_the_engine(name: str) -> bool:
    return name.startswith(("TEMPORAL_", "WORKER_"))
