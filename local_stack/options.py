"""What a local stack consists of, and where it listens."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from local_stack import ports
from local_stack.ports import Claim

ENGINE = ("postgres", "temporal", "sandbox")
APPLICATION = ("worker", "api")
ALL_PARTS = ENGINE + APPLICATION
"""In the order in which they start."""


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """What to run, and where."""

    data_dir: Path = Path(".data")
    api_port: int = 8080
    temporal_port: int = 7233
    ui_port: int = 8233
    vendor_port: int = 8090
    parts: Collection[str] = ALL_PARTS
    """Without the sandbox, the vendors' addresses come from the environment."""
    demo_data: bool = True
    """Import the demo shop, when worker or API run."""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings beyond those that follow from the rest."""

    @classmethod
    def on_free_ports(
        cls,
        data_dir: Path,
        *,
        parts: Collection[str] = ALL_PARTS,
        demo_data: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Self:
        """A stack that disturbs no other."""
        api, temporal, ui, vendor = ports.free(4)
        return cls(
            data_dir=data_dir,
            api_port=api,
            temporal_port=temporal,
            ui_port=ui,
            vendor_port=vendor,
            parts=parts,
            demo_data=demo_data,
            env=env or {},
        )

    def claims(self) -> list[Claim]:
        """The ports that the chosen parts listen on."""
        every = [
            ("api", Claim(self.api_port, "the API", "--api-port")),
            ("temporal", Claim(self.temporal_port, "Temporal", "--temporal-port")),
            ("temporal", Claim(self.ui_port, "the Temporal UI", "--ui-port")),
            ("sandbox", Claim(self.vendor_port, "the vendor sandbox", "--vendor-port")),
        ]
        return [claim for part, claim in every if part in self.parts]
