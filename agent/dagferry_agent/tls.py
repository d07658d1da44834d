"""The certificate that the endpoint shows, as it is in its files now.

1. TLS 1.2 at the least, with Python's own choice of ciphers; HTTP/1 is the only protocol that is offered.
2. Certificate and key belong together: a pair that cannot be read, or does not match, is refused as a whole. At the
   start that ends the agent; later the pair before stays, and the log says so once for each new pair.
3. The files are looked at for every handshake and read again when they changed (a Kubernetes secret is replaced by a
   link that moves, which changes the inode). Handshakes from then on see the new pair; connections are left alone.
4. A pair that was replaced while it was read is no pair: it is read again for the next handshake.
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Final

from dagferry_schemas.commandline import plain
from dagferry_schemas.errors import Usage

if TYPE_CHECKING:
    from pathlib import Path

    Signature = tuple[tuple[int, int, int], ...]

PROTOCOLS: Final = ("http/1.1",)

_log = logging.getLogger(__name__)


class Certificate:
    """A server's certificate and key. Raises `Usage` if the files cannot be used. To be used by one thread."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert = cert
        self._key = key
        try:
            self._seen = self._signature()
            self._newest = _context(cert, key)
        except OSError as error:  # an `ssl.SSLError` is one
            raise Usage(
                f"--tls-cert {cert}, --tls-key {key}: {_reason(error, cert, key)}",
                "both are PEM files: the certificate, with those between it and the root, and its unencrypted key",
            ) from None
        self.context = _context(cert, key)
        """What the server is given; each handshake goes on with the newest pair."""
        self.context.sni_callback = self._choose

    def _choose(self, handshake: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        self._refresh()
        handshake.context = self._newest

    def _refresh(self) -> None:
        signature = self._signature()
        if signature == self._seen:
            return
        newest, failure = self._newest, None
        try:
            newest = _context(self._cert, self._key)
        except OSError as error:
            failure = error
        if self._signature() != signature:
            return
        self._seen, self._newest = signature, newest
        if failure is None:
            _log.info("certificate read again: %s", plain(str(self._cert)))
        else:
            reason = plain(_reason(failure, self._cert, self._key))
            _log.warning("the new certificate is not used, the one before stays: %s", reason)

    def _signature(self) -> Signature | None:
        """What changes when the files do; None if they cannot be looked at."""
        try:
            found = self._cert.stat(), self._key.stat()
        except OSError:
            return None
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)


def _context(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(PROTOCOLS))
    # Without a password of our own, OpenSSL would ask for one on the terminal, and wait.
    context.load_cert_chain(cert, key, password=lambda: b"")
    return context


def _reason(error: OSError, cert: Path, key: Path) -> str:
    if not isinstance(error, ssl.SSLError):
        return f"{error.filename or f'{cert} or {key}'} cannot be read: {error.strerror}"
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    return f"no certificate with an unencrypted key: {error.reason or error}"
