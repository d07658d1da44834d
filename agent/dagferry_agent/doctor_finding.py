"""What a check of ``dagferry-agent doctor`` is, and what it may find; each is made for itself.

* A check looks at one thing, by the same functions that an agent uses, and says what it saw or what to do. One that
  fails keeps no other from being made; one that cannot be made says why (`Untried`).
* What works worse, or is dangerous, is a warning (`Warned`); it does not make the pod unfit.
* Nothing is left behind, and nothing of an agent that runs here is touched: its locks are not taken, its releases and
  its memory are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagferry_schemas.errors import DagferryError
from dagferry_storage.probe import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Step = Callable[[], str]
    """Says what it saw. Raises `Failed`, `Warned`, `Untried`, or any `DagferryError`."""


class Warned(Exception):
    """It will work, and not as well or as safely as it should."""


class Untried(Exception):
    """The check was not made, and this is why."""


@dataclass(frozen=True)
class Finding:
    """What one check found. ``ok`` is false for what fails, what is a warning, and what was not tried."""

    name: str
    ok: bool
    detail: str
    tried: bool = True
    warning: bool = False

    @property
    def fails(self) -> bool:
        """Whether the pod is unfit because of it."""
        return self.tried and not self.ok and not self.warning

    @property
    def word(self) -> str:
        """How a line for people begins."""
        if self.ok:
            return "ok"
        return ("warn" if self.warning else "NOT OK") if self.tried else "-"

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; ``tried`` and ``warning`` are in it only where they say something."""
        untried: dict[str, Any] = {} if self.tried else {"tried": False}
        warning: dict[str, Any] = {"warning": True} if self.warning else {}
        return {"name": self.name, "ok": self.ok, "detail": self.detail, **untried, **warning}


def examine(steps: Iterable[tuple[str, Step]]) -> Iterator[Finding]:
    """Make the checks in their order. Raises nothing that is foreseen."""
    for name, step in steps:
        yield _made(name, step)


def _made(name: str, step: Step) -> Finding:
    try:
        return Finding(name, True, step())
    except Failed as failed:
        return Finding(name, False, str(failed))
    except Warned as warned:
        return Finding(name, False, str(warned), warning=True)
    except Untried as untried:
        return Finding(name, False, f"not tried: {untried}", tried=False)
    except DagferryError as error:
        return Finding(name, False, f"{error.message}: {error.hint}" if error.hint else error.message)
