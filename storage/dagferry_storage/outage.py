"""What went wrong on the way to a server, in one plain line: which server, and why.

* The libraries of the connection wrap one error in another and print the insides of each. The reason is the innermost
  one that says something.
* A server that is another one than was meant answers with a page for people; of that the words are told, on one line.
"""

from __future__ import annotations

import html
import re
import socket
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST: Final = 300
"""Characters of an answer that are told."""
_UNSEEN: Final = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_TAG: Final = re.compile(r"</?[A-Za-z!?][^>]*>?")
_PORTS: Final = {"http": 80, "https": 443}


def told(error: BaseException) -> str:
    """``HOST:PORT: connection refused``; without the address where the error does not know it."""
    address = next((found for one in _within(error) if (found := _address(one))), "")
    reasons = [found for one in _within(error) if (found := _reason(one))]
    reason = reasons[-1] if reasons else words(str(error)) or type(error).__name__
    return f"{address}: {reason}" if address else reason


def server(url: str) -> str:
    """``HOST:PORT`` of a URL, with the port that it leaves out."""
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    return f"{parts.hostname or ''}:{port}" if port else parts.hostname or ""


def words(text: str) -> str:
    """The words of a server's answer, which may be HTML or XML, on one line."""
    if text.lstrip().startswith("<"):
        text = html.unescape(_TAG.sub(" ", _UNSEEN.sub(" ", text)))
    return " ".join(text.split())[:_MOST]


def _within(error: BaseException) -> Iterator[BaseException]:
    """``error`` and all that it wraps, the outermost first."""
    seen: list[BaseException] = [error]
    for one in seen:
        yield one
        inner = [getattr(one, "reason", None), one.__cause__, one.__context__, *one.args]
        seen += [other for other in inner if isinstance(other, BaseException) and other not in seen]


def _address(error: BaseException) -> str:
    url = getattr(getattr(error, "request", None), "url", None)
    return server(url) if url else ""


def _reason(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return "the host's name is not known"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {getattr(error, 'verify_message', '') or error.reason or error}"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionError):
        return "connection closed"
    return (error.strerror or "") if type(error) is OSError else ""
