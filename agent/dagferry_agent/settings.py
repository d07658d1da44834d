"""What an agent is told: one frozen value, made by the command line, read by everything else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dagferry_storage.webhook import Webhook

Durability = Literal["auto", "fsync", "syncfs", "none"]


@dataclass(frozen=True)
class Settings:
    """The options of an agent, checked. Times in the unit of their name."""

    store: str
    bundle: str
    channel: str
    root: Path
    agent_id: str
    host: str = "127.0.0.1"
    port: int = 8470
    tokens_file: Path | None = None
    keyring: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allowed_hosts: frozenset[str] = frozenset()
    pulls_per_minute: int = 120
    poll_seconds: float = 15.0
    keep_releases: int = 5
    grace_hours: float = 6.0
    durability: Durability = "auto"
    heal: bool = False
    airflow_settle_seconds: float = 31.0
    airflow_url: str | None = None
    airflow_credentials_file: Path | None = None
    airflow_bundle: str = "dags-folder"
    acknowledge: bool = False
    acknowledge_seconds: float = 60.0
    labels: Mapping[str, str] = field(default_factory=dict)
    webhooks: tuple[Webhook, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """The labels as a candidate's targets name them: ``KEY=VALUE``."""
        return tuple(f"{key}={value}" for key, value in sorted(self.labels.items()))
