"""Writers of a channel that are stopped, killed or left without a reply, each at the worst moment.

The stores here are the real `LocalStore`, told to do something else around one write. What runs in a process of its own
is a function of this module, because it is handed over by name.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from dagferry_builder.channel import Change, Channel
from dagferry_builder.head import Heads
from dagferry_schemas import layout
from dagferry_schemas.errors import DagferryError, DeliveryFailed
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Content, FilesPin, TarballPin
from dagferry_schemas.record import seal
from dagferry_schemas.version import Version
from dagferry_storage import published
from dagferry_storage.local import LocalStore
from tests.builder.checks import BUNDLE, CHANNEL, Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from dagferry_schemas.record import Record
    from dagferry_storage.store import Store

PATIENCE = 60  # seconds
HEAD = layout.head(BUNDLE, CHANNEL)
NOW = "2026-11-01T00:00:00Z"


def publish_documents(store: Store, commits: Sequence[str]) -> list[str]:
    """Version documents ``v1``, ``v2``, … of a straight history, oldest first. Their content is in no store."""
    return [_publish_document(store, number, commit) for number, commit in enumerate(commits, 1)]


def _publish_document(store: Store, number: int, commit: str) -> str:
    digest = digest_of(str(number).encode())
    version = Version(
        bundle=BUNDLE,
        version=f"v{number}",
        commit=commit,
        first_parents=number,
        commit_time=f"2026-01-01T00:{number:02}:00Z",
        tag=None,
        selection={"root": ""},
        content=Content(digest, TarballPin(digest, 1, 2048), FilesPin(digest, 1, 1)),
    )
    store.create(layout.version(BUNDLE, version.version), version.to_bytes())
    return version.version


def commits(count: int) -> list[str]:
    """Commit ids that no clone has."""
    return [f"{number:040x}" for number in range(1, count + 1)]


def channel(store: Store, actor: str = "ada", kind: type[Channel] = Channel) -> Channel:
    """The channel, moved by ``actor``."""
    return kind(store, BUNDLE, CHANNEL, actor=actor, clock=lambda: NOW)


def promote(store: Store, version: str, *, actor: str = "ada", **options: Any) -> Change:  # noqa: ANN401
    """Promote one of the published versions."""
    return channel(store, actor).promote(published.read(store, BUNDLE, version), **options)


def ended(version: str, work: Callable[[], Change]) -> Ended:
    """How ``work`` ended, in the words of a command."""
    try:
        change = work()
    except DagferryError as error:
        return Ended(version, error.exit_code, f"{error.message} {error.hint}")
    return Ended(version, 0, generation=change.record.generation)


class StopsBeforeItsHeadWrite(LocalStore):
    """Stops its whole process just before its first write of a head, until somebody lets it go on."""

    _stopped = False

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        self._stop(key)
        return super().create(key, body)

    def replace(self, key: str, body: bytes, token: str) -> str:
        self._stop(key)
        return super().replace(key, body, token)

    def _stop(self, key: str) -> None:
        if key == HEAD and not self._stopped:
            self._stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)


class StopsAndIgnoresTheToken(StopsBeforeItsHeadWrite):
    """A planted bug: the write that was delayed takes place whatever has happened meanwhile."""

    def replace(self, key: str, body: bytes, token: str) -> str:
        self._stop(key)
        with suppress(FileNotFoundError):
            token = self.read(key, limit=layout.MAX_DOCUMENT).token
        return super().replace(key, body, token)


class DiesBeforeItsHeadWrite(LocalStore):
    """Is killed between the write of the log and that of the head."""

    def replace(self, key: str, body: bytes, token: str) -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


class LosesReplies(LocalStore):
    """Does what it is asked to, and answers the first write of ``key`` with ``error``; ``between`` runs before that."""

    def __init__(
        self, root: Path, key: str, error: DagferryError, between: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(root)
        self._key = key
        self._error: DagferryError | None = error
        self._between = between

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        return self._reply(key, super().create(key, body))

    def replace(self, key: str, body: bytes, token: str) -> str:
        return self._reply(key, super().replace(key, body, token))

    def _reply(self, key: str, token: str) -> str:
        if key == self._key and self._error is not None:
            error, self._error = self._error, None
            self._between()
            raise error
        return token


class IsOvertaken(LocalStore):
    """Lets somebody else promote ``version`` in the moment before its first head write."""

    def __init__(self, root: Path, version: str) -> None:
        super().__init__(root)
        self._others = LocalStore(root)
        self._version: str | None = version

    def replace(self, key: str, body: bytes, token: str) -> str:
        if key == HEAD and self._version is not None:
            version, self._version = self._version, None
            promote(self._others, version)
        return super().replace(key, body, token)


class LosesRequests(LocalStore):
    """Answers a head write with a failure, and has not done it."""

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        if key == HEAD:
            raise DeliveryFailed("no route to the store", "try again")
        return super().create(key, body)

    def replace(self, key: str, body: bytes, token: str) -> str:
        raise DeliveryFailed("no route to the store", "try again")


class _SkipsTheLog(Heads):
    def _keep(self, head: object) -> None:
        pass


class SkipsTheLog(Channel):
    """A planted bug: the head is replaced without keeping it first."""

    heads = _SkipsTheLog


class _NeverLooksAgain(Heads):
    def _settle(self, record: object, error: DeliveryFailed | None) -> None:
        raise error or DeliveryFailed("the write was refused")


class NeverLooksAgain(Channel):
    """A planted bug: an error on a write is taken for a write that did not take place."""

    heads = _NeverLooksAgain


class _WritesBlindly(Heads):
    def _settle(self, record: Record, error: DeliveryFailed | None) -> None:
        present = self.read()
        assert present is not None
        self._store.replace(self._key, seal(record), present.token)


class WritesBlindly(Channel):
    """A planted bug: the head is replaced whatever it is by now, as a write without a condition does."""

    heads = _WritesBlindly


class Writer:
    """A process of its own that makes one change to the channel through a store of the given kind."""

    def __init__(self, kind: type[LocalStore], root: Path, action: str, version: str = "", **options: Any) -> None:  # noqa: ANN401
        spawn = multiprocessing.get_context("spawn")
        self._line, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_write, args=(theirs, kind, root, action, version, options), daemon=True)
        self.process.start()
        theirs.close()

    def wait_until_stopped(self) -> None:
        """Until it has stopped itself."""
        assert self.process.pid is not None
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"the writer ended instead of stopping: {status}"

    def go_on(self) -> Ended:
        """Let it go on to its end; how it ended."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGCONT)
        assert self._line.poll(PATIENCE), "no answer"
        answer = self._line.recv()
        self.process.join(PATIENCE)
        assert isinstance(answer, Ended)
        return answer


def _write(
    line: Connection[Any, Any], kind: type[LocalStore], root: Path, action: str, version: str, options: dict[str, Any]
) -> None:
    store = kind(root)
    if action == "promote":
        line.send(ended(version, lambda: promote(store, version, actor="slow", **options)))
    else:
        line.send(ended(version, lambda: getattr(channel(store, "slow"), action)(**options)))
