"""Does this store keep its promises? Five checks that try to break them, for ``init-store`` and ``doctor``.

* Some stores accept a condition and ignore it, and answer as if all were well: only trying tells.
* Two throw-away objects, ``<prefix>probe/<nonce>`` and ``<prefix>probe/<nonce>-late``, are used and deleted. Where
  deleting is not allowed they stay: they are small, and no reader looks there.
* A broken promise fails its own check. A foreseen error fails its check and leaves the later ones untried: it says
  that the store could not be asked, and asking again would take another timeout each.
* The nonce comes from the caller; there is no clock and no randomness here.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_schemas.errors import DagferryError

from .store import Exists, Superseded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .store import Store, Stored

_LIMIT = 4096  # bytes; far more than any body written here


@dataclass(frozen=True)
class Check:
    """What one check found: ``detail`` says what was seen, or why the check could not be made."""

    name: str
    ok: bool
    detail: str


def probe(store: Store, prefix: str, nonce: str) -> tuple[Check, ...]:
    """Try all promises below ``prefix`` (empty, or ending in ``/``) with a nonce that was never used there before.

    Raises nothing that is foreseen: each failure is in its `Check`.
    """
    subject = _Subject(store, f"{prefix}probe/", nonce)
    try:
        return tuple(_run(subject))
    finally:
        subject.clean()


def _run(subject: _Subject) -> Iterator[Check]:
    tried = True
    for name, step in _STEPS.items():
        if not tried:
            yield Check(name, False, "not tried")
            continue
        try:
            yield Check(name, True, step(subject))
        except _BrokenPromise as broken:
            yield Check(name, False, str(broken))
        except DagferryError as error:
            tried = False
            yield Check(name, False, error.message)


class _BrokenPromise(Exception):
    """The store answered, and not as it promised."""


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
    """The throw-away objects and the five things that are tried on them; each returns what it saw."""

    def __init__(self, store: Store, folder: str, nonce: str) -> None:
        self._store = store
        self._folder = folder
        self._key = folder + nonce
        self._late_key = f"{folder}{nonce}-late"
        self._nonce = nonce

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
            raise _BrokenPromise("a replace with a stale token was accepted")
        self._expect(self._key, "replaced", "an object after a refused replace")
        return "a replace took place with the right token and was refused with a stale one"

    def conditional_read(self) -> str:
        before = self._read(self._key)
        if self._store.read_if_changed(self._key, before.token, limit=_LIMIT) is not None:
            raise _BrokenPromise("an unchanged object was reported as changed")
        self._store.replace(self._key, self._body("changed"), before.token)
        now = self._store.read_if_changed(self._key, before.token, limit=_LIMIT)
        if now is None or now.body != self._body("changed"):
            raise _BrokenPromise("a changed object was reported as unchanged, or with other bytes than its own")
        return "an unchanged object was recognised, and a changed one was read"

    def list(self) -> str:
        if self._key not in self._store.names(self._folder):
            raise _BrokenPromise("a stored object is not listed")
        return "a stored object is listed"

    def clean(self) -> None:
        for key in (self._key, self._late_key):
            with suppress(DagferryError):
                self._store.delete(key)

    def _body(self, word: str) -> bytes:
        return f"dagferry probe {self._nonce} {word}\n".encode()

    def _read(self, key: str) -> Stored:
        return self._store.read(key, limit=_LIMIT)

    def _create_refused(self, key: str, body: bytes | io.BytesIO) -> None:
        with suppress(Exists):
            self._store.create(key, body)
            raise _BrokenPromise("a create of an object that exists was accepted")

    def _expect(self, key: str, word: str, what: str) -> None:
        if self._read(key).body != self._body(word):
            raise _BrokenPromise(f"{what} has other bytes than it should have")


_STEPS: dict[str, Callable[[_Subject], str]] = {
    "create": _Subject.create,
    "create_only": _Subject.create_only,
    "compare_and_swap": _Subject.compare_and_swap,
    "conditional_read": _Subject.conditional_read,
    "list": _Subject.list,
}
