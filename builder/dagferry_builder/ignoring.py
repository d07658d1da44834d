"""What the files ``.dagferryignore`` of a commit, and the patterns of a bundle, keep out of the tree.

The syntax is that of ``.gitignore`` (https://git-scm.com/docs/gitignore), by the library pathspec. The file may be in
any folder of a root and above it, up to the top of the repository; its patterns are relative to its folder, the
nearest file has the last word, and what is below a folder that is kept out is never brought back. Paths are those of a
checkout in which links are folders like others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dagferry_schemas.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FILE: Final = ".dagferryignore"
MAX_SIZE: Final = 1024 * 1024
"""Bytes of a ``.dagferryignore``; a larger one is not one that a person wrote."""


class Patterns:
    """Patterns in the syntax of ``.gitignore``. Raises `Usage` for one that is none; ``what`` says where they are."""

    def __init__(self, lines: Sequence[str], what: str) -> None:
        from pathspec import GitIgnoreSpec  # where there are patterns: it takes longer to load than to use

        self._lines = list(lines)
        try:
            self._spec = GitIgnoreSpec.from_lines(self._lines)
        except ValueError as error:
            raise Usage(f"{what}: {error}", "see https://git-scm.com/docs/gitignore for the syntax") from None

    def says(self, path: str) -> tuple[bool, str] | None:
        """Whether the last pattern that matches ``path`` takes it, and that pattern; None if no pattern matches."""
        found = self._spec.check_file(path)
        if found.include is None or found.index is None:
            return None
        return found.include, self._lines[found.index].strip()


class _Folder(NamedTuple):
    """What holds for the files of one folder: the rule that keeps all of them out, or the files to ask."""

    rule: str | None
    asked: tuple[tuple[str, Patterns], ...]
    """Nearest last: the folder of each ``.dagferryignore`` (with a slash at its end, or empty), and its patterns."""


class Ignores:
    """Says which paths are kept out. ``read`` gives the text of a folder's ``.dagferryignore``, or None."""

    def __init__(self, read: Callable[[str], str | None]) -> None:
        self._read = read
        self._known: dict[str, _Folder] = {}

    def rule(self, path: str) -> str | None:
        """The rule that keeps the file ``path`` out, or None."""
        folder = self._folder(path.rpartition("/")[0])
        return folder.rule or self._ask(folder, path)

    def _folder(self, path: str) -> _Folder:
        if path not in self._known:
            self._known[path] = self._learn(path)
        return self._known[path]

    def _learn(self, path: str) -> _Folder:
        above = self._folder(path.rpartition("/")[0]) if path else _Folder(None, ())
        rule = above.rule or (self._ask(above, path + "/") if path else None)
        if rule is not None:
            return _Folder(rule, ())
        text = self._read(path)
        if text is None:
            return above
        place = path + "/" if path else ""
        return _Folder(None, (*above.asked, (place, Patterns(text.splitlines(), place + FILE))))

    @staticmethod
    def _ask(folder: _Folder, path: str) -> str | None:
        for place, patterns in reversed(folder.asked):
            said = patterns.says(path[len(place) :])
            if said is not None:
                taken, pattern = said
                return f"{place}{FILE}: {pattern}" if taken else None
        return None
