"""Telling a webhook what happened: one signed request for each event, and how long to wait before it is tried again.

It is here because commands and agents tell in the same way, and neither imports the other.

1. Only the URL that was configured is ever asked: no redirect is followed, and nothing of the environment (proxies,
   .netrc) is looked at. What a receiver answers is not read but for its status: 2xx means that it has the event, and
   anything else that it has not.
2. Messages name a receiver by its scheme, host and port. The rest of a URL may be a secret, and what is in the file of
   secrets is one; neither is in any message.
3. The file of secrets is read for each request, so that a new secret needs no restart.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from dagferry_schemas.errors import DeliveryFailed, Usage
from dagferry_schemas.events import MEDIA_TYPE, read_secrets, signature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 10.0
FIRST_PAUSE: Final = 0.5
LAST_PAUSE: Final = 300.0
"""Seconds before an event is sent again, at the first failure and at the most."""
MAX_SECRET_FILE: Final = 4096


class NotTaken(DeliveryFailed):
    """A webhook did not take an event: it could not be reached, or answered something else than 2xx."""

    code = "webhook_failed"


@dataclass(frozen=True)
class Webhook:
    """One receiver: its URL, the file of its secrets, the certificates that its https is checked with, its patience."""

    url: str
    secret_file: Path
    ca_file: Path | None = None
    answer_seconds: float = ANSWER_SECONDS

    @property
    def name(self) -> str:
        """What messages call it."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")

    def secrets(self) -> tuple[bytes, ...]:
        """The secrets, as the file has them now. Raises `Usage`."""
        try:
            with self.secret_file.open(encoding="utf-8") as file:
                text = file.read(MAX_SECRET_FILE)
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise Usage(
                f"the webhook's secret file {self.secret_file} cannot be read: {said}",
                "look at --webhook-secret-file",
            ) from None
        return read_secrets(text)

    def send(self, event_id: str, body: bytes) -> None:
        """Send one event. Raises `NotTaken`, `Usage` if there is no secret to sign with."""
        import requests  # slow to load, and needed by those who have a webhook only

        secrets, now = self.secrets(), int(time.time())
        headers = {
            "Content-Type": MEDIA_TYPE,
            "User-Agent": "dagferry",
            "webhook-id": event_id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(secrets, event_id, now, body),
        }
        try:
            with requests.Session() as session:
                session.trust_env = False
                session.verify = str(self.ca_file) if self.ca_file is not None else True
                patience = (CONNECT_SECONDS, self.answer_seconds)
                with session.post(
                    self.url, data=body, headers=headers, timeout=patience, allow_redirects=False, stream=True
                ) as reply:
                    status = reply.status_code
        except (requests.RequestException, OSError) as error:  # OSError: a CA file that is not there
            raise NotTaken(f"{self.name}: {_words(error)}", "it is tried again as long as there is time") from None
        if not 200 <= status < 300:
            moved = ", a redirect, which is not followed" if 300 <= status < 400 else ""
            raise NotTaken(f"{self.name} answered HTTP {status}{moved}", "look at the receiver, and at its secret")


def open_webhooks(
    urls: Sequence[str], secret_file: Path | None, ca_file: Path | None, options: str = "--webhook"
) -> tuple[Webhook, ...]:
    """The receivers at ``urls``, each once; nothing is read or asked. Raises `Usage`."""
    for url in urls:
        if not _is_url(url):
            raise Usage(
                f"{options} {_shown(url)!r} is no URL of a webhook",
                "write http://HOST[:PORT]/PATH or https://…, without a user, a password or a fragment",
            )
    if urls and secret_file is None:
        raise Usage(f"{options} is given without {options}-secret-file", "events are signed: name a file with a secret")
    return tuple(Webhook(url, secret_file, ca_file) for url in dict.fromkeys(urls) if secret_file is not None)


def pause_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row: twice as long each time, up to `LAST_PAUSE`, with jitter."""
    most = min(LAST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 20))
    return random.uniform(most / 2, most)


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, or half a pair of brackets
        return False
    plain = url.isascii() and url.isprintable() and " " not in url
    return bool(right) and plain and "@" not in parts.netloc and not parts.fragment


def _shown(url: str) -> str:
    """The beginning of what was given for a URL, without what may be a secret."""
    scheme, found, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('/')[0]}…"[:80] if found else f"{scheme[:8]}…"


def _words(error: Exception) -> str:
    """What happened, without the URL and whatever else the library puts in."""
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted, or it speaks no TLS"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__ if isinstance(error, requests.RequestException) else "the CA file cannot be used"
