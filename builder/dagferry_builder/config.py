"""The config file: ``dagferry.toml``, or ``[tool.dagferry]`` in ``pyproject.toml``, beside or above the caller.

Two kinds of settings live in it. *Where and how* (top-level keys, each the name of an option) come from the working
tree, and flags and environment override them. *What decides content* (``[bundles.<name>]``: root, version pattern) is
read from the commit that is built, so that a version means the same to everybody. Unknown keys are refused with the
nearest known one.
"""

from __future__ import annotations

import posixpath
import re
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from dagferry_schemas.errors import Usage
from dagferry_schemas.names import NAME, check_name

from .ignoring import Patterns
from .selection import Root, Selection

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from .git import Repository

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
FILE: Final = "dagferry.toml"
DEFAULT_PATTERN: Final = "v[0-9]*"
PYPROJECT: Final = "pyproject.toml"
OPTIONS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "store": str,
    "channel": str,
    "agents": (str, list),
    "token_file": str,
    "ca_file": str,
    "timeout": (int, float),
    "wait": bool,
    "on_hold": str,
    "keyring": str,
    "signer": (str, list),
    "expires_days": (int, float),
    "webhook": (str, list),
    "webhook_secret_file": str,
    "webhook_ca_file": str,
}
"""The top-level keys, each an option of the commands, with the types that TOML may give it."""
BUNDLE_KEYS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "root": str,
    "roots": (list, dict),
    "include": list,
    "exclude": list,
    "version_pattern": str,
}


class Bundle(NamedTuple):
    """The content part of one bundle's configuration. ``local``: it came from the command line, not from a commit."""

    name: str
    selection: Selection = Selection()
    version_pattern: str = DEFAULT_PATTERN
    local: bool = False


class Config(NamedTuple):
    """One config file, checked. ``options`` by option name; ``bundles`` by name, roots relative to the repository.

    ``lint`` is the table of that name as it stands, or None; `lint.settings` reads it.
    """

    options: Mapping[str, Any] = MappingProxyType({})
    bundles: Mapping[str, Bundle] = MappingProxyType({})
    lint: Mapping[str, Any] | None = None


class Found(NamedTuple):
    """The config file of the working tree: where it is, and what it says. ``path`` is None where there is none."""

    path: Path | None
    config: Config

    @property
    def folder(self) -> Path | None:
        """The folder of the config file."""
        return self.path.parent if self.path else None

    def resolved_options(self) -> dict[str, Any]:
        """The options as commands take them: relative paths are relative to the config file's folder."""
        options = dict(self.config.options)
        for name in ("store", "token_file", "ca_file", "keyring", "webhook_secret_file", "webhook_ca_file"):
            value = options.get(name)
            if self.folder is not None and value:
                options[name] = _beside(self.folder, value)
        for name in ("agents", "signer", "webhook"):
            if isinstance(options.get(name), str):
                options[name] = [options[name]]
        if self.folder is not None and "signer" in options:
            options["signer"] = [_beside(self.folder, one) for one in options["signer"]]
        return options


def _beside(folder: Path, value: str) -> str:
    """A path as seen from ``folder``; URLs, what begins with a home and what is empty stay as they are."""
    return value if not value or _URL.match(value) or value.startswith("~") else str(folder / value)


def find(start: Path) -> Found:
    """The nearest config file at or above ``start``, up to the top of the git repository. Raises `Usage`."""
    for folder in (start, *start.parents):
        top = (folder / ".git").exists()
        for name in (FILE, PYPROJECT):
            path = folder / name
            if path.is_file():
                config = parse(path.read_bytes(), str(path), folder=_below_top(folder))
                if config is not None:
                    return Found(path, config)
        if top:
            break
    return Found(None, Config())


def _below_top(folder: Path) -> str:
    """The path of ``folder`` below the top of its git repository, or nothing outside one."""
    for top in (folder, *folder.parents):
        if (top / ".git").exists():
            return "" if top == folder else folder.relative_to(top).as_posix()
    return ""


def at_commit(repository: Repository, commit: str, found: Found) -> Config | None:
    """What the config file said in ``commit``: the working tree's file, or else the one at the top. Raises `Usage`."""
    candidates = [FILE, PYPROJECT]
    if found.path is not None and found.path.is_relative_to(repository.top):
        candidates.insert(0, found.path.relative_to(repository.top).as_posix())
    for path in candidates:
        raw = repository.file(commit, path)
        config = (
            parse(raw, f"{path} in commit {commit[:12]}", folder=posixpath.dirname(path)) if raw is not None else None
        )
        if config is not None:
            return config
    return None


def bundle_to_build(repository: Repository, rev: str, found: Found, name: str | None, root: str | None) -> Bundle:
    """The bundle as the commit ``rev`` describes it; a ``root`` from the command line makes it local."""
    commit = repository.resolve(rev)
    config = at_commit(repository, commit, found)
    if config is None and found.config.bundles and root is None:
        _need_commit(found, commit, name)
    if name is not None and config is not None and name in found.config.bundles and name not in config.bundles:
        raise Usage(
            f"bundle {name!r} is in {found.path}, but not yet in commit {commit[:12]}, which decides what is built",
            f"commit it first: git add {found.path} && git commit",
            code="config_not_committed",
        )
    chosen = choose(config or Config(), name)
    if root is None:
        return chosen
    selection = chosen.selection._replace(roots=(Root(_clean_root(root, "--root", "")),))
    return Bundle(chosen.name, selection, chosen.version_pattern, local=True)


def _need_commit(found: Found, commit: str, name: str | None) -> None:
    bundle = choose(found.config, name)
    if bundle != Bundle(bundle.name):
        raise Usage(
            f"{found.path} is not in commit {commit[:12]}, and what is built is decided by the commit",
            f"commit it first: git add {found.path} && git commit",
            code="config_not_committed",
        )


def choose(config: Config, name: str | None) -> Bundle:
    """The bundle of that name, or the only one. Raises `Usage`."""
    known = ", ".join(sorted(config.bundles))
    if name is not None:
        check_name("bundle", name)
        if config.bundles and name not in config.bundles:
            raise Usage(f"the config file has no bundle {name!r}", _nearest(name, config.bundles) or f"it has: {known}")
        return config.bundles.get(name, Bundle(name))
    if not config.bundles:
        raise Usage("no bundle is named", "run `dagferry init`, or give --bundle NAME", code="no_bundle")
    if len(config.bundles) > 1:
        raise Usage(f"the config file has several bundles: {known}", "choose one with --bundle NAME", code="no_bundle")
    return next(iter(config.bundles.values()))


def parse(raw: bytes, what: str, *, folder: str) -> Config | None:
    """The settings in a TOML document, or None if it is a ``pyproject.toml`` without ours. Raises `Usage`."""
    try:
        document = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Usage(f"{what}: not UTF-8 at byte {error.start}", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise Usage(f"{what}: not TOML: {error}", "see https://toml.io") from None
    if what.split(" in commit ")[0].endswith(PYPROJECT):
        tool = document.get("tool", {})
        table = tool.get("dagferry") if isinstance(tool, dict) else None
        if table is None:
            return None
        if not isinstance(table, dict):
            raise Usage(f"{what}: tool.dagferry: expected a table", "write [tool.dagferry.bundles.NAME]")
        document = table
    _check_keys(document, {**OPTIONS, "bundles": dict, "lint": dict}, what, "")
    bundles = {name: _bundle(name, table, what, folder) for name, table in document.pop("bundles", {}).items()}
    lint = document.pop("lint", None)
    return Config(document, bundles, lint)


def _bundle(name: str, table: object, what: str, folder: str) -> Bundle:
    place = f"bundles.{name}"
    if not NAME.fullmatch(name):
        raise Usage(f"{what}: [{place}]: not a bundle name", "use letters, digits, '.', '_' or '-', at most 63")
    if not isinstance(table, dict):
        raise Usage(f"{what}: {place}: expected a table", f'write [{place}] and below it root = "dags"')
    _check_keys(table, BUNDLE_KEYS, what, place + ".")
    for key in ("include", "exclude"):
        if key in table:
            Patterns(table[key], f"{what}: {place}.{key}")
    selection = Selection(
        roots=_roots(table, f"{what}: {place}", folder),
        include=tuple(table.get("include", ())),
        exclude=tuple(table.get("exclude", ())),
    )
    return Bundle(name, selection, table.get("version_pattern", DEFAULT_PATTERN))


def _roots(table: Mapping[str, Any], what: str, folder: str) -> tuple[Root, ...]:
    """The folders that a bundle is made of: ``root``, or ``roots`` as a list, or as a table of places in the tree."""
    roots = table.get("roots")
    if roots is None:
        return (Root(_clean_root(table.get("root", ""), f"{what}.root", folder)),)
    if "root" in table or not roots:
        raise Usage(f"{what}: give either root or roots", 'one folder: root = "dags"; several: roots = ["dags", "sql"]')
    named = roots if isinstance(roots, dict) else {one: one for one in roots}
    found = []
    for place, origin in named.items():
        if not isinstance(origin, str):
            raise Usage(f"{what}.roots.{place}: expected str, found {type(origin).__name__}", 'dags = "team_a/dags"')
        clean = _clean_root(place, f"{what}.roots", "")
        found.append(Root(_clean_root(origin, f"{what}.roots.{place}", folder), clean))
    places = [root.place for root in found]
    if len(set(places)) < len(places) or len(found) != len(roots):
        raise Usage(f"{what}.roots: two folders have one place in the tree", "name each place once")
    return tuple(found)


def _clean_root(root: str, what: str, folder: str) -> str:
    """``root`` (relative to ``folder``) as a path below the top of the repository, the top itself being ''."""
    path = posixpath.normpath(posixpath.join(folder, root or "."))
    if path.startswith(("../", "/")) or path == ".." or "\\" in path:
        raise Usage(f"{what}: {root!r} is not a folder inside the repository", "use a relative path such as dags")
    return "" if path == "." else path


def _check_keys(table: Mapping[str, Any], known: Mapping[str, type | tuple[type, ...]], what: str, place: str) -> None:
    for key, value in table.items():
        if key not in known:
            _unknown_key(what, place, key, known)
        if not isinstance(value, known[key]) or isinstance(value, bool):
            kinds = known[key] if isinstance(known[key], tuple) else (known[key],)
            wanted = " or ".join(kind.__name__ for kind in kinds)  # type: ignore[union-attr]
            raise Usage(f"{what}: {place}{key}: expected {wanted}, found {type(value).__name__}", "correct the value")
        if isinstance(value, list) and not all(isinstance(one, str) for one in value):
            raise Usage(f"{what}: {place}{key}: expected a list of texts", 'for example ["http://pod-1:8470"]')


def _unknown_key(what: str, place: str, key: str, known: Iterable[str]) -> NoReturn:
    hint = _nearest(key, known) or "known keys: " + ", ".join(sorted(known))
    raise Usage(f"{what}: unknown key {place}{key}", hint, code="unknown_key")


def _nearest(word: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else ""
