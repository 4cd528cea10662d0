"""Options of a local stack, and the environment of its processes."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from local_stack import ports
from local_stack.ports import Claim
from settings import CodecSettings, Settings

INFRASTRUCTURE = ("postgres", "temporal", "codec", "sandbox")
APPLICATION = ("worker", "api")
ALL_PARTS = ("postgres", "temporal", "sandbox", *APPLICATION)
"""In start order, without the codec server, which runs if workflow data is sealed."""
SETTINGS = frozenset(name.upper() for kind in (Settings, CodecSettings) for name in kind.model_fields)


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """Which parts run, on which ports, with which settings."""

    data_dir: Path = Path(".data")
    api_port: int = 8080
    temporal_port: int = 7233
    ui_port: int = 8233
    vendor_port: int = 8090
    metrics_ports: tuple[int, int] | None = None
    """Of worker and API. None: they serve no metrics."""
    codec_port: int = 8091
    sealed: bool = False
    """Seal workflow data, and run a codec server for the Temporal UI."""
    parts: Collection[str] = ALL_PARTS
    """Without the sandbox, the vendors' addresses come from the environment."""
    demo_data: bool = True
    """Import the demo shop if worker or API run."""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further settings; they override the stack's own."""

    @classmethod
    def on_free_ports(
        cls,
        data_dir: Path,
        *,
        parts: Collection[str] = ALL_PARTS,
        demo_data: bool = True,
        sealed: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Self:
        """Options with free ports, so that several stacks can run side by side."""
        api, temporal, ui, vendor, codec = ports.free(5)
        return cls(
            data_dir=data_dir,
            api_port=api,
            temporal_port=temporal,
            ui_port=ui,
            vendor_port=vendor,
            codec_port=codec,
            sealed=sealed,
            parts=parts,
            demo_data=demo_data,
            env=env or {},
        )

    def claims(self, parts: Collection[str]) -> list[Claim]:
        """The ports that these parts listen on."""
        claims = [
            ("api", Claim(self.api_port, "the API", "--api-port")),
            ("temporal", Claim(self.temporal_port, "Temporal", "--temporal-port")),
            ("temporal", Claim(self.ui_port, "the Temporal UI", "--ui-port")),
            ("codec", Claim(self.codec_port, "the codec server", "--codec-port")),
            ("sandbox", Claim(self.vendor_port, "the vendor sandbox", "--vendor-port")),
        ]
        if self.metrics_ports is not None:
            worker, api = self.metrics_ports
            claims += [
                ("worker", Claim(worker, "the worker's metrics", "--metrics-port")),
                ("api", Claim(api, "the API's metrics", "--metrics-port")),
            ]
        return [claim for part, claim in claims if part in parts]


def metrics_ports(first: int | None) -> tuple[int, int]:
    """Ports of the metrics of worker and API. `first`: None for 9464, or any that are free."""
    worker, api = ports.free_or((9464, 9465)) if first is None else (first, first + 1)
    return worker, api


def stack_settings(
    *, database_url: str, temporal_address: str, temporal_ui_url: str, encryption_key: str, sealing: Mapping[str, str]
) -> dict[str, str]:
    """Settings for worker, API and commands: defaults, overridden by the environment, overridden by the stack's own.

    The environment's Temporal and worker settings are ignored: the server is the stack's own, the worker unversioned.
    So are those of metrics, as each process needs a port of its own.
    """
    defaults = {
        "ENCRYPTION_KEYS": encryption_key,
        "LOG_LEVEL": "INFO",
        "RATE_LIMIT": "1000/second",  # a developer's single API key makes all requests
    }
    given = {
        name: value for name in sorted(SETTINGS) if not _belongs_to_stack(name) and (value := os.environ.get(name))
    }
    own = {
        "DATABASE_URL": database_url,
        "TEMPORAL_ADDRESS": temporal_address,
        "TEMPORAL_NAMESPACE": "default",
        "TEMPORAL_UI_URL": temporal_ui_url,
        "TEMPORAL_TASK_QUEUE": "pointsaga",
        "LOG_FORMAT": "text",
        **sealing,
    }
    return defaults | given | own


def vendor_settings(sandbox_url: str) -> dict[str, str]:
    """Settings that send all vendor calls to the sandbox."""
    return {
        "SHOPIFY_ADMIN_URL": f"{sandbox_url}/{{shop_domain}}/admin/api/{{version}}/graphql.json",
        "KLAVIYO_URL": f"{sandbox_url}/klaviyo",
        "OMNISEND_URL": f"{sandbox_url}/omnisend",
        "POSTSCRIPT_URL": f"{sandbox_url}/postscript",
    }


def process_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Environment of a child process: ours, with our settings replaced by these."""
    rest = {name: value for name, value in os.environ.items() if name not in SETTINGS and not _belongs_to_stack(name)}
    return {**rest, **settings, "PYTHONUNBUFFERED": "1"}


def _belongs_to_stack(name: str) -> bool:
    return name.startswith(("METRICS_", "TEMPORAL_", "WORKER_"))
