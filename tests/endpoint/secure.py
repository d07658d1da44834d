"""An agent that speaks https, and an authority of its own for the certificates."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import trustme

from .wire import Reply, connect, read
from .world import Source, World, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST: Final = "127.0.0.1"


class Authority:
    """A certificate authority, and the folder of a pod's secret as Kubernetes keeps it: files behind a link."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        self.cert, self.key = folder / "secret/tls.crt", folder / "secret/tls.key"
        self._turns = 0

    @property
    def arguments(self) -> tuple[str, str]:
        return f"--tls-cert={self.cert}", f"--tls-key={self.key}"

    def issue(self) -> tuple[bytes, bytes]:
        """A new certificate with its chain, and its key."""
        made = self.ca.issue_cert(HOST, "localhost")
        return b"".join(blob.bytes() for blob in made.cert_chain_pems), made.private_key_pem.bytes()

    def put(self, cert: bytes, key: bytes) -> None:
        """Replace both files at once."""
        self._turns += 1
        new = self.folder / f"..{self._turns}"
        new.mkdir()
        (new / "tls.crt").write_bytes(cert)
        (new / "tls.key").write_bytes(key)
        link = self.folder / "..new"
        link.symlink_to(new.name)
        link.rename(self.folder / "secret")

    def context(self, **versions: ssl.TLSVersion) -> ssl.SSLContext:
        """What a client trusts."""
        context = ssl.create_default_context(cafile=self.ca_file)
        for name, version in versions.items():
            setattr(context, name, version)
        return context


class SecureWorld(World):
    """An agent that speaks https."""

    MAY_GROW = 96 * 1024 * 1024  # asyncio has a buffer of 256 KiB for each connection

    authority: Authority

    def open(self) -> ssl.SSLSocket:
        """A connection that trusts the authority."""
        raw = connect(self.port)
        try:
            return self.authority.context().wrap_socket(raw, server_hostname=HOST)
        except ssl.SSLError:
            raw.close()
            raise

    def ask(self, data: bytes, source: str | None = None) -> Reply:
        """What is answered over TLS."""
        assert source is None
        with self.open() as connection:
            connection.sendall(self.fill(data))
            return read(connection)

    def shown(self) -> bytes:
        """The certificate that a new connection is shown."""
        with self.open() as connection:
            found = connection.getpeercert(binary_form=True)
        assert found is not None
        return found


@contextmanager
def secured(source: Source, name: str, authority: Authority, **settings: float) -> Iterator[SecureWorld]:
    """An agent with a certificate of ``authority``; ends with the block."""

    def secure(*parts: Any) -> SecureWorld:  # noqa: ANN401 (the parts of a world)
        made = SecureWorld(*parts)
        made.authority = authority
        return made

    with running(source, name, *authority.arguments, make=secure, **settings) as made:  # type: ignore[arg-type]
        assert isinstance(made, SecureWorld)
        yield made
