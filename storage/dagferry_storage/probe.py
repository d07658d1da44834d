"""Does this store keep its promises, and has it our time? For ``init-store`` and ``doctor``.

* `PROMISES` are five checks that try to break them. A sixth, ``clock``, says nothing about the store alone.
* Some stores accept a condition and ignore it, and answer as if all were well: only trying tells.
* Three throw-away objects, ``<prefix>probe/<nonce>`` and the same with ``-late`` and ``-clock``, are used and deleted.
  Where deleting is not allowed they stay: they are small, and no reader looks there.
* A broken promise fails its own check. A foreseen error fails its check and leaves the later ones untried: it says
  that the store could not be asked, and asking again would take another timeout each.
* Nonce and clock come from the caller; there is no time and no randomness here.
"""

from __future__ import annotations

import io
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.errors import DagferryError

from .store import Exists, Missing, Superseded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .store import Store, Stored

    Step = Callable[[], str]
    """Says what it saw. Raises `Failed`, or any `DagferryError`."""

PROMISES: Final = ("create", "create_only", "compare_and_swap", "conditional_read", "list")
MOST_APART: Final = 60
"""Seconds between two clocks that are still right: records carry times, and so will signatures."""
_LIMIT = 4096  # bytes; far more than any body written here


@dataclass(frozen=True)
class Check:
    """What one check found: ``detail`` says what was seen, or why the check could not be made.

    ``error`` is what kept it from being made. One that was not ``tried``, because of an error before it, is not ok.
    """

    name: str
    ok: bool
    detail: str
    error: DagferryError | None = field(default=None, compare=False)
    tried: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; ``tried`` is in it only where it is false."""
        untried = {} if self.tried else {"tried": False}
        return {"name": self.name, "ok": self.ok, "detail": self.detail, **untried}


class Failed(Exception):
    """A check was made, and what it saw is not as it has to be."""


def probe(store: Store, prefix: str, nonce: str, clock: Callable[[], float]) -> tuple[Check, ...]:
    """Try all promises below ``prefix`` (empty, or ending in ``/``) with a nonce that was never used there before.

    ``clock`` gives this machine's seconds since 1970. Raises nothing that is foreseen: each failure is in its `Check`.
    """
    with trying(store, prefix, nonce, clock) as steps:
        return examine(steps)


@contextmanager
def trying(store: Store, prefix: str, nonce: str, clock: Callable[[], float]) -> Iterator[dict[str, Step]]:
    """The steps of `probe`, for whoever has more to try; their objects are deleted at the end."""
    subject = _Subject(store, f"{prefix}probe/", nonce, clock)
    try:
        yield {name: getattr(subject, name) for name in (*PROMISES, "clock")}
    finally:
        subject.clean()


def examine(steps: Mapping[str, Step]) -> tuple[Check, ...]:
    """Take the steps in their order, each as one check; after an error the rest is not tried."""
    return tuple(_taken(steps))


def _taken(steps: Mapping[str, Step]) -> Iterator[Check]:
    tried = True
    for name, step in steps.items():
        if not tried:
            yield Check(name, False, "not tried", tried=False)
            continue
        try:
            yield Check(name, True, step())
        except Failed as failed:
            yield Check(name, False, str(failed))
        except DagferryError as error:
            tried = False
            yield Check(name, False, error.message, error)


def compare_clocks(before: float, stored: float, after: float) -> str:
    """What is to be said of a store's clock that read ``stored`` between ``before`` and ``after`` on this machine's.

    A store may leave out the fraction of its second; the doubt counts in favour. Raises `Failed`.
    """
    ahead, behind = before - (stored + 1), stored - after
    if max(ahead, behind) <= 0:
        return "this machine's clock and the store's agree to the second"
    side = "ahead of" if ahead > 0 else "behind"
    said = f"this machine's clock is {max(ahead, behind):.0f} s {side} the store's"
    if max(ahead, behind) > MOST_APART:
        raise Failed(f"{said}; {MOST_APART} s are allowed")
    return said


def not_behind(store: Store, key: str, clock: Callable[[], float]) -> str:
    """What a reader can tell of this machine's clock from the time at which somebody else wrote ``key``.

    An object that was written after this machine's present proves that this machine is behind; everything else is left
    open, and says so. Raises `Failed`.
    """
    try:
        written = store.modified(key)
    except Missing:
        return "there is no object to compare with; nothing can be told without writing"
    now = clock()
    if written > now:
        return compare_clocks(now, written, now)
    return f"{key.rpartition('/')[2]} was written before this machine's present; more cannot be told without writing"


class _LateBody(io.BytesIO):
    """A body that lets something happen in the moment when a store begins to read it."""

    def __init__(self, body: bytes, meanwhile: Callable[[], object]) -> None:
        super().__init__(body)
        self._meanwhile: Callable[[], object] | None = meanwhile

    def read(self, size: int | None = -1, /) -> bytes:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().read(size)


class _Subject:
    """The throw-away objects and what is tried on them; each returns what it saw."""

    def __init__(self, store: Store, folder: str, nonce: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._folder = folder
        self._key = folder + nonce
        self._late_key = f"{folder}{nonce}-late"
        self._clock_key = f"{folder}{nonce}-clock"
        self._nonce = nonce
        self._now = clock

    def create(self) -> str:
        self._store.create(self._key, self._body("first"))
        self._expect(self._key, "first", "a created object")
        return "an object was created and read back"

    def create_only(self) -> str:
        self._create_refused(self._key, self._body("second"))
        self._expect(self._key, "first", "an object that was created a second time")
        # A store that looks first and writes afterwards passes the lines above. So the winner comes in between.
        late = _LateBody(self._body("late"), lambda: self._store.create(self._late_key, self._body("early")))
        self._create_refused(self._late_key, late)
        self._expect(self._late_key, "early", "an object that was created while another create was under way")
        return "a second create was refused, also with both under way at once, and the first bytes stayed"

    def compare_and_swap(self) -> str:
        before = self._read(self._key)
        self._store.replace(self._key, self._body("replaced"), before.token)
        self._expect(self._key, "replaced", "an object that was replaced with the right token")
        with suppress(Superseded):
            self._store.replace(self._key, self._body("stale"), before.token)
            raise Failed("a replace with a stale token was accepted")
        self._expect(self._key, "replaced", "an object after a refused replace")
        return "a replace took place with the right token and was refused with a stale one"

    def conditional_read(self) -> str:
        before = self._read(self._key)
        if self._store.read_if_changed(self._key, before.token, limit=_LIMIT) is not None:
            raise Failed("an unchanged object was reported as changed")
        self._store.replace(self._key, self._body("changed"), before.token)
        now = self._store.read_if_changed(self._key, before.token, limit=_LIMIT)
        if now is None or now.body != self._body("changed"):
            raise Failed("a changed object was reported as unchanged, or with other bytes than its own")
        return "an unchanged object was recognised, and a changed one was read"

    def list(self) -> str:
        if self._key not in self._store.names(self._folder):
            raise Failed("a stored object is not listed")
        return "a stored object is listed"

    def clock(self) -> str:
        before = self._now()
        self._store.create(self._clock_key, self._body("clock"))
        after = self._now()
        return compare_clocks(before, self._store.modified(self._clock_key), after)

    def clean(self) -> None:
        for key in (self._key, self._late_key, self._clock_key):
            with suppress(DagferryError):
                self._store.delete(key)

    def _body(self, word: str) -> bytes:
        return f"dagferry probe {self._nonce} {word}\n".encode()

    def _read(self, key: str) -> Stored:
        return self._store.read(key, limit=_LIMIT)

    def _create_refused(self, key: str, body: bytes | io.BytesIO) -> None:
        with suppress(Exists):
            self._store.create(key, body)
            raise Failed("a create of an object that exists was accepted")

    def _expect(self, key: str, word: str, what: str) -> None:
        if self._read(key).body != self._body(word):
            raise Failed(f"{what} has other bytes than it should have")
