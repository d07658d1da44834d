"""What the demo prints: numbered steps, the commands, what they said, and facts that were looked up."""

from __future__ import annotations


class Broken(Exception):
    """Something is not as promised."""


class Story:
    """One telling."""

    def __init__(self) -> None:
        self._steps = 0
        self.facts = 0

    def step(self, title: str) -> None:
        self._steps += 1
        print(f"\n{self._steps}. {title}", flush=True)

    def command(self, *words: str) -> None:
        print("   $ " + " ".join(words), flush=True)

    def said(self, text: str) -> None:
        for line in text.splitlines():
            print(f"     {line}".rstrip(), flush=True)

    def check(self, holds: bool, fact: str) -> None:
        """Print what was looked up, if it is so. Raises `Broken`."""
        if not holds:
            raise Broken(f"not so: {fact}")
        self.facts += 1
        print(f"   = {fact}", flush=True)
