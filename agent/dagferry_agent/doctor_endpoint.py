"""Whether the endpoint would come up, whom it would let in, and what its certificate is worth."""

from __future__ import annotations

import ipaddress
from datetime import timezone
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from dagferry_schemas.errors import MachineFault
from dagferry_storage import disk
from dagferry_storage.probe import Failed

from . import control
from .clock import utc
from .doctor_finding import Untried, Warned
from .door import listen
from .tls import Certificate
from .tokens import MAX_FILE, is_valid, parse_tokens
from .vouching import SOON

if TYPE_CHECKING:
    from collections.abc import Callable

    from .doctor_finding import Step
    from .settings import Settings

AIRFLOWS_PORTS: Final = {
    5555: "Celery's Flower",
    8080: "the web server, or the API server",
    8793: "the workers' log server",
    8794: "the triggerer's log server",
    8974: "the scheduler's health check",
}
"""What Airflow listens on in its pods, as its configuration and its Helm chart have it."""


SERVING: Final = ("hypercorn", "prometheus_client", "starlette", "structlog", "watchdog")
"""Packages without which there is no endpoint."""


class Endpoint:
    """The endpoint of ``settings``. ``clock`` gives seconds since 1970."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock

    def steps(self) -> list[tuple[str, Step]]:
        """The checks."""
        return [
            ("packages", self.packages),
            ("port", self.port),
            ("tokens", self.tokens),
            ("tls", self.tls),
            ("exposure", self.exposure),
        ]

    def packages(self) -> str:
        """Whether there is what `serve` needs; `pull` does without."""
        missing = [name for name in SERVING if find_spec(name) is None]
        if missing:
            raise Warned(
                f"`serve` would not start: {', '.join(missing)} not installed; install dagferry with the extra 'agent'"
            )
        return "what `serve` needs is installed"

    def port(self) -> str:
        """Whether the address can be had, and is not Airflow's."""
        host, port = self._settings.host, self._settings.port
        if port in AIRFLOWS_PORTS:
            raise Failed(f"{port} is the port of {AIRFLOWS_PORTS[port]} in Airflow: choose another with --listen")
        try:
            listen(host, port).close()
        except MachineFault as error:
            if error.code == "port_in_use" and control.is_there(self._settings.root):
                return f"{host}:{port} is in use, and an agent is active in this root: it is taken to be its own"
            raise
        return f"{host}:{port} is free"

    def tokens(self) -> str:
        """Whether anybody may ask."""
        file = self._settings.tokens_file
        if file is None:
            if not self._settings.poll_seconds:
                raise Failed("no --tokens-file, and --poll-seconds 0: this agent would never hear of a new release")
            return "no --tokens-file: nobody can ask this agent to pull; it polls"
        with disk.doing("reading the tokens file"), file.open("rb") as opened:
            entries = parse_tokens(opened.read(MAX_FILE + 1))
        now = utc(self._clock())
        live = [entry.id for entry in entries if is_valid(entry, now)]
        if not live:
            raise Failed(f"none of the {len(entries)} tokens of {file} is valid now: `dagferry-agent tokens generate`")
        return f"{len(live)} tokens are valid: {', '.join(live)}"

    def tls(self) -> str:
        """Whether the certificate can be used, and for how long."""
        cert, key = self._settings.tls_cert, self._settings.tls_key
        if cert is None or key is None:
            raise Untried("there is no --tls-cert")
        Certificate(cert, key)
        from cryptography.x509 import load_pem_x509_certificates

        with disk.doing(f"reading {cert}"):
            chain = load_pem_x509_certificates(cert.read_bytes())
        left = min(one.not_valid_after_utc for one in chain).astimezone(timezone.utc)
        seconds = left.timestamp() - self._clock()
        said = f"the certificate is valid until {left:%Y-%m-%dT%H:%M:%SZ}"
        if seconds <= 0:
            raise Failed(f"{said}, which is over: renew it")
        if seconds <= SOON.total_seconds():
            raise Warned(f"{said}: renew it; the agent reads it again by itself")
        return said

    def exposure(self) -> str:
        """Whether tokens go over the network in clear."""
        host = self._settings.host
        if self._settings.tls_cert is not None or _is_loopback(host):
            return f"tokens are not readable on the way to {host}"
        raise Warned(f"{host} without --tls-cert: tokens go over the network in clear; put TLS here, or in front of it")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
