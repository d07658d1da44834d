"""A delivery without store and disk that keeps the protocol of `service.Delivery`, and a tokens file to go with it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from dagferry_agent.settings import Settings
from dagferry_agent.tokens import new_token
from dagferry_schemas.endpoint import AgentStatus, PullReply
from dagferry_schemas.errors import DagferryError, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dagferry_agent.service import PullService

TREE = "sha256:" + "ab" * 32
BUNDLE, CHANNEL = "etl", "prod"


class FakeDelivery:
    """Serves what `head` says. Tests set `failure` to make pulls fail, and clear `may_end` to make them last.

    Like a real pull, it reads the head when it begins and serves that when it ends.
    """

    def __init__(
        self,
        *,
        head: int | None = 1,
        poll_seconds: float = 0.0,
        port: int = 0,
        tokens_file: Path | None = None,
        settle_seconds: float = 0.0,
    ) -> None:
        self._settings = Settings(
            store="file:///nowhere",
            bundle=BUNDLE,
            channel=CHANNEL,
            root=Path("nowhere"),
            agent_id="pod-1",
            port=port,
            poll_seconds=poll_seconds,
            tokens_file=tokens_file,
            airflow_settle_seconds=settle_seconds,
        )
        self.shown: list[int | None] = []
        self.show_failure: Exception | None = None
        self.show_began = threading.Semaphore(0)
        self.head = head
        self.served: int | None = None
        self.failure: Exception | None = None
        self.pulls = 0
        self.looks = 0
        self.prepared = False
        self.pieces = 0
        self.prepared_after: list[int] = []
        self.prepare_failure: Exception | None = None
        self.closed = False
        self.began = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.may_end.set()
        self._error: dict[str, str] | None = None
        self._alone = threading.Lock()

    @property
    def settings(self) -> Settings:
        return self._settings

    def prepare(self) -> None:
        self.prepared = True

    def prepare_next(self, seconds: float) -> bool:
        self.prepared_after.append(self.pulls)
        if self.prepare_failure is not None:
            raise self.prepare_failure
        self.pieces -= 1
        return self.pieces > 0

    def pull(self) -> PullReply:
        assert self._alone.acquire(blocking=False), "two pulls at once"
        try:
            return self._pull()
        finally:
            self._alone.release()

    def _pull(self) -> PullReply:
        self.pulls += 1
        head, failure = self.head, self.failure
        self.began.release()
        assert self.may_end.wait(30)
        if head is None:
            failure = Unknown(f"channel {CHANNEL!r} has no record")
        if failure is not None:
            code = failure.code if isinstance(failure, DagferryError) else "bug"
            self._error = {"code": code, "message": str(failure)}
            raise failure
        before, self.served, self._error = self.served, head, None
        return PullReply(
            bundle=BUNDLE,
            channel=CHANNEL,
            generation=head,
            version=f"v{head}",
            tree=TREE,
            previous=f"v{before}" if before else None,
            changed=head != before,
            files_written=1,
            files_linked=2,
            bytes_fetched=3,
            requests=4,
            seconds=0.5,
        )

    def claim(self) -> bool:
        return True

    def await_turn(self) -> None:
        raise AssertionError("it is active from the beginning")

    def take_over(self) -> None:
        raise AssertionError("it is active from the beginning")

    def watch(self, again: Callable[[], object]) -> None:
        self.again = again

    def close(self) -> None:
        self.closed = True

    def unwatch(self) -> None:
        del self.again

    def activate(self, text: str) -> PullReply:
        raise Unknown(f"release {text!r} is not on this disk")

    def resume(self) -> PullReply:
        raise Unknown("nothing is pinned here", code="not_pinned")

    def show_again(self) -> int:
        self.shown.append(self.served)
        self.show_began.release()
        if self.show_failure is not None:
            raise self.show_failure
        return 1

    def pull_version(self, version: str) -> PullReply:
        raise Unknown(f"version {version!r} does not exist")

    def status(self) -> AgentStatus:
        self.looks += 1
        return AgentStatus(
            agent_id=self._settings.agent_id,
            bundle=BUNDLE,
            channel=CHANNEL,
            generation=self.served,
            version=f"v{self.served}" if self.served else None,
            tree=TREE if self.served else None,
            since="2026-11-01T00:00:00Z" if self.served else None,
            previous=None,
            pinned=None,
            verifying=False,
            last_check="2026-11-02T00:00:00Z" if self.pulls else None,
            last_error=self._error,
            drift=("dags/odd-\udcff.py",) if self.served else (),
        )

    def ready(self) -> bool:
        return self.served is not None

    def wait_until_begun(self, pulls: int = 1) -> None:
        """Until so many more pulls have begun than this was called for before."""
        for _ in range(pulls):
            assert self.began.acquire(timeout=10)


def wait_for_pulls(service: PullService) -> None:
    """Until every pull that was asked for so far has ended, however it did."""
    service.request().done.exception(timeout=10)


def write_tokens(path: Path, *scopes: Sequence[str], **times: str) -> list[str]:
    """A tokens file with one entry for each set of scopes, and the tokens."""
    made = [new_token(f"t{index}", wanted, bytes([index]) * 32) for index, wanted in enumerate(scopes)]
    path.write_text(json.dumps([{**entry, **times} for _, entry in made]))
    return [token for token, _ in made]
