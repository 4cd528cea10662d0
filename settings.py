"""Settings of every process, from the environment. Read once, at a process's edge, and handed on in parts."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from cryptography.fernet import Fernet
from limits import parse_many
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from redis.asyncio.connection import parse_url
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import TLSConfig


class Settings(BaseSettings):
    """One field per environment variable of the same name in capitals. `.env.example` describes each."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    database_url: SecretStr = SecretStr("postgresql+asyncpg://pointsaga:pointsaga@127.0.0.1:5432/pointsaga")
    """SQLAlchemy URL of PostgreSQL 14 or newer, with the asyncpg driver."""

    temporal_address: str = "127.0.0.1:7233"
    """host:port of the Temporal frontend."""
    temporal_namespace: str = "default"
    """Temporal namespace of every workflow."""
    temporal_task_queue: str = "pointsaga"
    """Task queue on which API and worker meet."""
    temporal_api_key: SecretStr | None = None
    """API key of Temporal Cloud; switches TLS on."""
    temporal_tls: bool = False
    """Speak TLS to Temporal without an API key or client certificate."""
    temporal_tls_server_root_ca_cert_path: str | None = None
    """PEM file of the authority that signed the Temporal server's certificate."""
    temporal_tls_client_cert_path: str | None = None
    """PEM file of the client certificate for mTLS."""
    temporal_tls_client_key_path: str | None = None
    """PEM file of the client key for mTLS."""
    temporal_ui_url: str | None = None
    """Address of the Temporal Web UI, for links to runs; without it their ids are shown."""

    worker_deployment_name: Annotated[str, Field(pattern=r"^[^.]+$")] = "pointsaga"
    """Worker deployment that the versions of the worker belong to; without a dot."""
    worker_build_id: str | None = None
    """Version of the worker's code, a commit for example. Without one the worker is unversioned."""

    shopify_admin_url: str = "https://{shop_domain}/admin/api/{version}/graphql.json"
    """Template of Shopify's Admin GraphQL address."""
    shopify_api_version: str = "2026-10"
    """Version of Shopify's Admin API."""
    klaviyo_url: str = "https://a.klaviyo.com"
    """Base address of Klaviyo."""
    klaviyo_revision: str = "2026-10-15"
    """Klaviyo's API revision."""
    omnisend_url: str = "https://api.omnisend.com"
    """Base address of Omnisend."""
    omnisend_version: str = "2026-03-15"
    """Omnisend's API version."""
    postscript_url: str = "https://api.postscript.io"
    """Base address of Postscript."""

    purchase_deadline_seconds: Annotated[float, Field(gt=0, le=300)] = 25.0
    """Seconds after which a purchase without a code gives up and returns the points."""

    rate_limit: str = "50/second"
    """How often each API key may call; several limits are separated by semicolons: `50/second; 1000/minute`."""
    rate_limit_storage_url: SecretStr | None = None
    """Redis where all API processes count together: `redis://`, `rediss://` or `unix://`. Else each for itself."""

    encryption_keys: Annotated[tuple[SecretStr, ...], NoDecode, Field(min_length=1)]
    """Fernet keys, separated by commas; the first encrypts vendors' credentials at rest, all decrypt."""

    shopify_webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Client secrets of the Shopify app, separated by commas; any may have signed. Empty: webhooks are refused."""

    webhook_allow_private_targets: bool = False
    """Let webhooks go to private addresses and over plain http: for tests and laptops."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe level that is logged."""
    log_format: Literal["text", "json"] = "json"
    """`json` for machines, `text` for people."""

    @field_validator("encryption_keys", "shopify_webhook_secrets", mode="before")
    @classmethod
    def _split_by_commas(cls, value: object) -> object:
        return tuple(key.strip() for key in value.split(",") if key.strip()) if isinstance(value, str) else value

    @field_validator("encryption_keys")
    @classmethod
    def _check_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, key in enumerate(keys, 1):
            try:
                Fernet(key.get_secret_value())
            except ValueError as error:
                raise ValueError(f"key {number} is no Fernet key: {error}") from None
        return keys

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith("postgresql+asyncpg://"):
            raise ValueError("must begin with postgresql+asyncpg://")
        return url

    @field_validator("rate_limit")
    @classmethod
    def _check_rate_limit(cls, limit: str) -> str:
        if not all(one.amount for one in parse_many(limit)):
            raise ValueError("a limit must let at least one request through")
        return limit

    @field_validator("rate_limit_storage_url")
    @classmethod
    def _check_storage(cls, url: SecretStr | None) -> SecretStr | None:
        try:
            parse_url(url.get_secret_value() if url else "redis://")
        except ValueError:
            # Its own words quote the address, and with it the password.
            raise ValueError("is no address like redis://:password@host:6379/0, rediss://... or unix://...") from None
        return url

    @property
    def purchase_deadline(self) -> timedelta:
        """How long a purchase may take before it gives up."""
        return timedelta(seconds=self.purchase_deadline_seconds)


def read_settings() -> Settings:
    """The settings from the environment and `.env`; wrong ones end the process with a clear message."""
    try:
        return Settings.model_validate({})
    except ValidationError as error:
        sys.stderr.write("wrong settings in the environment or .env, see .env.example:\n")
        for item in error.errors(include_url=False, include_input=False):
            sys.stderr.write(f"  {str(item['loc'][0]).upper()}: {item['msg']}\n")
        raise SystemExit(2) from None


async def connect_temporal(settings: Settings, *, lazy: bool = False) -> Client:
    """A Temporal client; a lazy one connects at its first call, so that the API can start before the engine."""
    key = settings.temporal_api_key
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        api_key=key.get_secret_value() if key else None,
        tls=_tls(settings),
        data_converter=pydantic_data_converter,
        lazy=lazy,
    )


def _tls(settings: Settings) -> TLSConfig | bool:
    paths = (
        settings.temporal_tls_server_root_ca_cert_path,
        settings.temporal_tls_client_cert_path,
        settings.temporal_tls_client_key_path,
    )
    if not any(paths):
        return settings.temporal_tls or settings.temporal_api_key is not None
    ca, cert, key = (Path(path).read_bytes() if path else None for path in paths)
    return TLSConfig(server_root_ca_cert=ca, client_cert=cert, client_private_key=key)
