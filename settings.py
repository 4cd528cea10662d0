"""Settings of all processes, from environment variables and `.env`. Read once, in the composition roots."""

import json
import re
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from cryptography.fernet import Fernet
from limits import parse_many
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from temporalio.client import Client, Plugin
from temporalio.service import GrpcCompression, TLSConfig

from clients.sealed_payloads import CLEAR, data_converter
from telemetry import sdk_runtime

_HARD_TO_GUESS = re.compile(r"[\w-]{32,}=*", re.ASCII)
# With `*`, any page that an operator opens could read workflow data.
_ORIGIN = re.compile(r"https?://[^/*\s]+")

STACK_FILE = Path(".data/stack.json")
"""Where `pointsaga up` writes the settings of its local stack, by default."""


@dataclass(frozen=True)
class StackFile:
    """The file `stack.json` of a running local stack. `is_chosen`: by `--stack`, rather than found."""

    path: Path
    is_chosen: bool

    def settings(self) -> dict[str, str]:
        """The stack's settings. Raises `OSError`, or `ValueError` if the file has no settings."""
        return TypeAdapter(dict[str, str]).validate_python(json.loads(self.path.read_text()).get("env"))


stack_file: ContextVar[StackFile | None] = ContextVar("stack_file", default=None)
"""Set by the command line only: API and worker of a stack get its settings from their environment."""


def _split_by_commas(value: object) -> object:
    return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value


def _check_fernet_keys(keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for number, key in enumerate(keys, 1):
        try:
            Fernet(key.get_secret_value())
        except ValueError as error:
            raise ValueError(f"key {number} is not a Fernet key: {error}") from None
    return keys


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_by_commas)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_by_commas)]
"""Separated by commas."""
Days = Annotated[int, Field(ge=1, le=36_500)]


class CommonSettings(BaseSettings):
    """What the codec server and all other processes share."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    temporal_namespace: str = "default"

    payload_keys: Secrets = ()
    """Keys that seal workflow data in Temporal, separated by commas, in the format of `ENCRYPTION_KEYS`.

    The first seals, all open. `clear` in front: nothing is sealed yet. Empty: workflow data is clear.
    """

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "json"
    """`json` for log collectors, `text` for a terminal."""

    @field_validator("payload_keys")
    @classmethod
    def _check_payload_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        is_clear = bool(keys) and keys[0].get_secret_value() == CLEAR
        if is_clear and len(keys) == 1:
            raise ValueError("`clear` is followed by the keys that open")
        _check_fernet_keys(keys[is_clear:])
        return keys


class CodecSettings(CommonSettings):
    """Settings of the codec server. It reads nothing else: neither the database nor vendors' credentials."""

    codec_keys: Secrets = ()
    """Keys of people and programs that may read sealed workflow data at the codec server, separated by commas."""
    codec_origins: Texts = ()
    """Origins of the Temporal UIs that may ask the codec server, separated by commas."""

    @field_validator("codec_keys")
    @classmethod
    def _check_codec_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, key in enumerate(keys, 1):
            if not _HARD_TO_GUESS.fullmatch(key.get_secret_value()):
                raise ValueError(f"key {number} must have at least 32 letters, digits, - or _")
        return keys

    @field_validator("codec_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for number, origin in enumerate(origins, 1):
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"origin {number} must be like https://temporal.example.com, without a path")
        return origins


_Kind = TypeVar("_Kind", bound=CommonSettings)


class Settings(CommonSettings):
    """One field per environment variable; the variable has the same name in upper case. See `.env.example`."""

    database_url: SecretStr = SecretStr("postgresql+asyncpg://pointsaga:pointsaga@127.0.0.1:5432/pointsaga")
    """SQLAlchemy URL of PostgreSQL 14 or newer, with the asyncpg driver."""

    temporal_address: str = "127.0.0.1:7233"
    """host:port of the Temporal frontend."""
    temporal_task_queue: str = "pointsaga"
    """Task queue of API and worker."""
    temporal_api_key: SecretStr | None = None
    """API key of Temporal Cloud; enables TLS."""
    temporal_tls: bool = False
    """Use TLS without an API key or client certificate."""
    temporal_tls_server_root_ca_cert_path: str | None = None
    """PEM file of the CA that signed the Temporal server's certificate."""
    temporal_tls_client_cert_path: str | None = None
    """PEM file of the client certificate for mTLS."""
    temporal_tls_client_key_path: str | None = None
    """PEM file of the client key for mTLS."""
    temporal_ui_url: str | None = None
    """URL of the Temporal Web UI, for links to workflows. Without it, workflow ids are shown."""

    worker_deployment_name: Annotated[str, Field(pattern=r"^[^.]+$")] = "pointsaga"
    """Name of the worker deployment; must not contain a dot."""
    worker_build_id: str | None = None
    """Version of the worker's code, for example a commit. Without it the worker is unversioned."""

    shopify_admin_url: str = "https://{shop_domain}/admin/api/{version}/graphql.json"
    """URL of Shopify's Admin GraphQL API, with placeholders for shop and version."""
    shopify_api_version: str = "2026-10"
    klaviyo_url: str = "https://a.klaviyo.com"
    klaviyo_revision: str = "2026-10-15"
    omnisend_url: str = "https://api.omnisend.com"
    omnisend_version: str = "2026-03-15"
    postscript_url: str = "https://api.postscript.io"

    purchase_deadline_seconds: Annotated[float, Field(gt=0, le=300)] = 25.0
    """Seconds until a purchase without a discount code fails and its points are released."""

    async_purchase_deadline_seconds: Annotated[float, Field(gt=0, le=86_400)] = 900.0
    """The same for a purchase with `Prefer: respond-async`, which waits for its turn at Shopify."""

    purchases_in_progress: Annotated[int, Field(ge=1)] = 8
    """Purchases that an API process has in progress at a time. Others wait, and shops are admitted in turn."""

    idempotency_key_days: Days = 30
    """Days after which an idempotency key may be used anew."""
    refusal_days: Days = 1
    """Days until a refusal is deleted whose request had no idempotency key of its own."""
    webhook_days: Days = 30
    """Days after its processing until the record of a webhook from Shopify is deleted."""
    unused_order_days: Days = 30
    """Days after its last change until a refunded order is deleted of which no code is known."""

    rate_limit: str = "50/second"
    """Requests per API key. Several limits are separated by semicolons: `50/second; 1000/minute`."""
    rate_limit_storage_url: SecretStr | None = None
    """Redis URL (redis, rediss or unix) for limits shared by all API processes. None: each process counts alone."""

    encryption_keys: Annotated[Secrets, Field(min_length=1), AfterValidator(_check_fernet_keys)]
    """Fernet keys, separated by commas: the first encrypts vendor credentials in the database, all decrypt them."""

    shopify_webhook_secrets: Secrets = ()
    """Client secrets of one public Shopify app, separated by commas; each is accepted.

    They never serve a shop that was imported with a secret of its own. Empty: only such shops are served.
    """

    webhook_allow_private_targets: bool = False
    """Allow webhook subscriptions with private addresses or plain http. For tests and local use."""

    metrics_address: Annotated[str | None, Field(pattern=r"^[\w.-]+:\d{1,5}$")] = None
    """host:port at which API and worker serve `GET /metrics` for Prometheus. None: they do not."""
    otel_exporter_otlp_endpoint: Annotated[str | None, Field(pattern=r"^https?://")] = None
    """Base URL of an OpenTelemetry collector (OTLP over HTTP) for traces. None: no traces."""
    otel_traces_sampler_arg: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of requests that are traced, from 0 to 1."""

    @field_validator("refusal_days")
    @classmethod
    def _check_refusals(cls, days: int, others: ValidationInfo) -> int:
        # Invalid itself, it is missing here.
        if days > others.data.get("idempotency_key_days", days):
            raise ValueError("must be at most IDEMPOTENCY_KEY_DAYS, after which every key is deleted")
        return days

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith("postgresql+asyncpg://"):
            raise ValueError("must begin with postgresql+asyncpg://")
        return url

    @field_validator("rate_limit")
    @classmethod
    def _check_rate_limit(cls, limit: str) -> str:
        if not all(item.amount for item in parse_many(limit)):
            raise ValueError("a limit must allow at least one request")
        return limit

    @field_validator("rate_limit_storage_url")
    @classmethod
    def _check_storage(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return url
        # Not loaded by every process and command: that takes a tenth of a second.
        from redis.asyncio.connection import parse_url

        try:
            parse_url(url.get_secret_value())
        except ValueError:
            # The original message contains the URL and its password.
            raise ValueError("must be a URL like redis://:password@host:6379/0, rediss://... or unix://...") from None
        return url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, then the local stack, then `.env`, which local stacks do not read."""
        given = (init_settings, env_settings, dotenv_settings)
        stack = stack_file.get()
        # A stack that is found must not be mixed with another deployment's database.
        if stack is None or not (stack.is_chosen or all("database_url" not in source() for source in given)):
            return given
        values = {name.lower(): value for name, value in stack.settings().items()}
        return init_settings, env_settings, InitSettingsSource(settings_cls, values), dotenv_settings

    @property
    def async_purchase_deadline(self) -> timedelta:
        """Maximum duration of a queued purchase before the pivot."""
        return timedelta(seconds=self.async_purchase_deadline_seconds)

    @property
    def purchase_deadline(self) -> timedelta:
        """Maximum duration of a purchase before the pivot."""
        return timedelta(seconds=self.purchase_deadline_seconds)


def read_settings() -> Settings:
    """Read the environment and `.env`. Prints what is invalid and exits with status 2 if they are."""
    return _read(Settings)


def read_codec_settings() -> CodecSettings:
    """As `read_settings`, for the codec server."""
    return _read(CodecSettings)


def _read(kind: type[_Kind]) -> _Kind:
    try:
        return kind.model_validate({})
    except ValidationError as error:
        sys.stderr.write("invalid settings in the environment or .env (see .env.example):\n")
        for item in error.errors(include_url=False, include_input=False):
            sys.stderr.write(f"  {str(item['loc'][0]).upper()}: {item['msg']}\n")
        raise SystemExit(2) from None


async def connect_temporal(
    settings: Settings, *, lazy: bool = False, sdk_metrics: str | None = None, plugins: Sequence[Plugin] = ()
) -> Client:
    """Create a Temporal client. `lazy`: connect at the first call, so that the API can start before Temporal.

    `sdk_metrics`: address at which the SDK serves its metrics. Commands do not, whatever the settings say.
    """
    key = settings.temporal_api_key
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        api_key=key.get_secret_value() if key else None,
        tls=_tls(settings),
        data_converter=data_converter(settings.payload_keys, settings.temporal_namespace),
        lazy=lazy,
        # Messages are small, as they hold ids only: compressing them takes longer than sending them.
        grpc_compression=GrpcCompression.NONE,
        runtime=sdk_runtime(sdk_metrics),
        plugins=plugins,
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
