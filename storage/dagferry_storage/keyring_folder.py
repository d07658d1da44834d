"""The keyring in a folder, as it is now. A folder and not a file: so a Kubernetes secret or config map follows changes.

A folder that is missing, cannot be read, has no key, or of which one file is wrong, gives no keyring at all: whoever
was told to verify believes nothing until that is mended (`Untrusted`, ``no_keyring``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_schemas.errors import Malformed, Untrusted
from dagferry_schemas.keyring import MAX_FILE, MAX_KEYS, read_keyring
from dagferry_schemas.trust import Policy

if TYPE_CHECKING:
    from pathlib import Path

    from dagferry_schemas.keyring import Keyring


class KeyringFolder:
    """What is to be demanded of signatures: what the keyring at ``path`` says, or nothing where there is no path."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._read: tuple[dict[str, bytes], Keyring] | None = None

    @property
    def verifies(self) -> bool:
        """Whether signatures are demanded at all."""
        return self._path is not None

    def policy(self, now: str) -> Policy:
        """What holds at ``now`` (RFC 3339, UTC). Raises `Untrusted`."""
        if self._path is None:
            return Policy.UNSIGNED
        return Policy.require(self._keyring(self._path), now)

    def _keyring(self, path: Path) -> Keyring:
        try:
            found = [one for one in _seen(path) if one.suffix == ".json"]
            files = {one.name: _read(one) for one in found[: MAX_KEYS + 2]}
            if self._read is None or self._read[0] != files:
                self._read = (files, read_keyring(files))
        except OSError as error:
            raise _unusable(f"{error.filename or path}: {error.strerror}") from None
        except (Malformed, Untrusted) as error:
            raise _unusable(f"{path}: {error.message.removeprefix('keyring').lstrip(':, ')}") from None
        return self._read[1]


def left_out(path: Path) -> list[str]:
    """The names in a keyring's folder that are no part of it. Raises `OSError`."""
    return [one.name for one in _seen(path) if one.suffix != ".json"]


def _seen(path: Path) -> list[Path]:
    """What is in a folder, but for names with a dot first, which are how Kubernetes swaps what it mounts."""
    return [one for one in sorted(path.iterdir()) if not one.name.startswith(".")]


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MAX_FILE + 1)


def _unusable(problem: str) -> Untrusted:
    return Untrusted(
        f"the keyring cannot be used: {problem}",
        "nothing is believed until that is mended, and what is live stays; each key is a file NAME.json",
        code="no_keyring",
    )
