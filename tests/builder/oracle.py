"""What a build has to come to, worked out without a line of dagferry: by git's checkout, GitPython and the kernel.

The commit is checked out with every conversion switched off. The kernel follows links, and says which lead nowhere; one
that leaves the checkout does as well. The bytes of the tar, the lines of the file list and the digest of the tree are
written down a second time from their descriptions (ARCHITECTURE's "The tarball", the docstring of
``dagferry_schemas.tree``), in the most obvious way and not in the fastest. Nothing of dagferry may be imported here.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import subprocess
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from git import Blob, Repo

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

CONVERSIONS: Final = ("eol", "export-subst", "filter", "ident", "working-tree-encoding")
AS_IT_IS: Final = b"* -text -ident -filter !working-tree-encoding\n"
"""The attributes with which a checkout changes no byte."""


@dataclass(frozen=True)
class File:
    """A file that has to be delivered. ``origin`` is where it is in the commit, its path once links are followed."""

    path: str
    executable: bool
    body: bytes
    origin: str

    @property
    def raw(self) -> bytes:
        """The path as bytes."""
        return self.path.encode("utf-8", "surrogateescape")


@dataclass
class Expected:
    """What a walk through a checkout found: ``files`` in the order of their paths' bytes, and what is wrong.

    ``faults`` are the paths that keep the commit from being packed. ``endless`` are those where a folder was entered
    that the walk was in already: one fault, but where along the circle it is named is a matter of taste.
    """

    files: list[File] = field(default_factory=list)
    faults: set[str] = field(default_factory=set)
    endless: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)


# --- git


def environment(home: Path) -> dict[str, str]:
    """An environment in which git knows nothing of this machine's settings and attributes."""
    shut_out = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    return {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_CONFIG_HOME": str(home), "LC_ALL": "C", **shut_out}


def git(*arguments: str, at: Path, said: bytes = b"", codes: Sequence[int] = (0,)) -> bytes:
    """What git prints."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=at, env=environment(at), input=said, capture_output=True, check=False)
    assert done.returncode in codes, (command, done)
    return done.stdout


def blobs(repository: Path, commit: str) -> dict[str, bytes]:
    """The bytes of every file of a commit that is no link, by path, as GitPython reads its trees."""
    with Repo(repository) as opened:
        items = [item for item in opened.commit(commit).tree.traverse() if isinstance(item, Blob)]
        return {str(item.path): item.data_stream.read() for item in items if item.mode != Blob.link_mode}


class Checkout:
    """A commit as files on a disk, in a folder of its own; ``repository`` stays untouched."""

    def __init__(self, repository: Path, commit: str, folder: Path) -> None:
        self.commit = commit
        self.top = (folder / "tree").resolve()
        self._own = folder / "own.git"
        self.top.mkdir(parents=True)
        git("init", "--quiet", "--bare", "--template=", str(self._own), at=folder)
        objects = repository / ".git/objects"
        for name, content in {"objects/info/alternates": str(objects).encode(), "info/attributes": AS_IT_IS}.items():
            (self._own / name).parent.mkdir(exist_ok=True)
            (self._own / name).write_bytes(content)
        settings = ("core.bare=false", "core.symlinks=true", "core.autocrlf=false", "core.fileMode=true")
        options = [part for setting in settings for part in ("-c", setting)]
        self._git("--work-tree", str(self.top), *options, "checkout", "--quiet", "--force", "--detach", commit)
        (self._own / "info/attributes").unlink()
        listed = self._git("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0")
        self.submodules = {line.partition(b"\t")[2] for line in listed if line.startswith(b"160000 ")}

    def _git(self, *arguments: str, said: bytes = b"") -> bytes:
        return git("--git-dir", str(self._own), *arguments, at=self.top, said=said)

    def attributes(self, origins: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """What ``git check-attr`` says of files of this checkout, as ``name=value`` or ``name``."""
        asked = b"".join(origin.encode("utf-8", "surrogateescape") + b"\0" for origin in dict.fromkeys(origins))
        options = ("--work-tree", str(self.top), "-c", f"core.attributesFile={os.devnull}", "-c", "core.bare=false")
        said = self._git(*options, "check-attr", "-z", "--stdin", *CONVERSIONS, said=asked).split(b"\0")
        found: dict[str, tuple[str, ...]] = {}
        for at in range(0, len(said) - 1, 3):
            origin, name = (one.decode("utf-8", "surrogateescape") for one in said[at : at + 2])
            value = said[at + 2].decode("utf-8", "replace")
            if value not in ("unset", "unspecified"):
                found[origin] = (*found.get(origin, ()), name if value == "set" else f"{name}={value}")
        return found


def describe(repository: Path, commit: str) -> tuple[str, str | None, int]:
    """The version of ``commit``, its tag and the number of commits since, by ``git describe``."""
    options = ("--tags", "--long", "--abbrev=12", "--match", "v[0-9]*")
    said = git("describe", *options, commit, at=repository, codes=(0, 128)).decode().strip()
    if not said:
        count = git("rev-list", "--count", commit, at=repository).decode().strip()
        return f"0.0.0-{count}-g{commit[:12]}", None, int(count)
    tag, distance, _ = said.rsplit("-", 2)
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-")
    return "".join(letter if letter in allowed else "-" for letter in said), tag, int(distance)


# --- the walk


class _Lost(Exception):
    """A link that leads to nothing in the commit."""


def look(checkout: Checkout, root: str) -> Expected:
    """What is below ``root`` in the checkout, links followed."""
    walk = _Walk(checkout)
    walk.begin(root)
    found = walk.found
    found.files.sort(key=lambda file: file.raw)
    sound = [file for file in found.files if not _is_forbidden(file.path)]
    found.faults |= {file.path for file in found.files if _is_forbidden(file.path) or _is_pointer(file.body)}
    found.faults |= _confused([file.path for file in sound])
    return found


class _Walk:
    def __init__(self, checkout: Checkout) -> None:
        self.found = Expected()
        self._top = os.fsencode(checkout.top)
        self._submodules = checkout.submodules

    def begin(self, root: str) -> None:
        place = os.path.join(self._top, os.fsencode(root)) if root else self._top  # noqa: PTH118
        try:
            place = self._real(place)
        except _Lost:
            self.found.faults.add(root)
            return
        if os.path.isdir(place):  # noqa: PTH112
            if self._inside(place) in self._submodules:
                self.found.left_out.add(root)
            self._enter(place, "", (place,))
        elif self._inside(place) != os.fsencode(root):  # a root that is a file has nothing below it
            self.found.faults.add(root)

    def _enter(self, folder: bytes, path: str, entered: tuple[bytes, ...]) -> None:
        for name in os.listdir(folder):  # noqa: PTH208
            text = name.decode("utf-8", "surrogateescape")
            self._take(folder + b"/" + name, f"{path}/{text}" if path else text, entered)

    def _take(self, place: bytes, path: str, entered: tuple[bytes, ...]) -> None:
        try:
            real = self._real(place)
        except _Lost:
            self.found.faults.add(path)
            return
        if self._inside(real) in self._submodules:
            self.found.left_out.add(path)
        elif real in entered:
            self.found.endless.add(path)
        elif os.path.isdir(real):  # noqa: PTH112
            self._enter(real, path, (*entered, real))
        else:
            with open(real, "rb") as file:  # noqa: PTH123
                executable = bool(os.fstat(file.fileno()).st_mode & stat.S_IXUSR)
                origin = self._inside(real).decode("utf-8", "surrogateescape")
                self.found.files.append(File(path, executable, file.read(), origin))

    def _inside(self, real: bytes) -> bytes:
        return real[len(self._top) + 1 :]

    def _real(self, place: bytes) -> bytes:
        """Where the kernel ends up. ``place`` is free of links but for its last component."""
        try:
            os.stat(place)  # noqa: PTH116
        except OSError as error:  # it dangles, loops, or goes through a file
            raise _Lost from error
        real = os.path.realpath(place)
        if real != self._top and not real.startswith(self._top + b"/"):
            raise _Lost
        return real


# --- names and pointers


def _is_forbidden(path: str) -> bool:
    try:
        raw = path.encode("utf-8")
    except UnicodeEncodeError:
        return True
    parts = raw.split(b"/")
    control = any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") or letter == "\\" for letter in path)
    too_long = len(raw) > 512 or len(parts) > 32 or any(len(part) > 255 for part in parts)
    return control or too_long or not unicodedata.is_normalized("NFC", path)


def _confused(paths: Iterable[str]) -> set[str]:
    """Files and folders beside which there is another that differs in letter case or Unicode form only."""
    places = {path[:end] for path in paths for end in [*(at.start() for at in re.finditer("/", path)), len(path)]}
    alike: dict[tuple[str, str], set[str]] = {}
    for place in places:
        folder, _, name = place.rpartition("/")
        # The Unicode standard's canonical caseless match (D145).
        form = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
        alike.setdefault((folder, form), set()).add(place)
    return {place for group in alike.values() if len(group) > 1 for place in group}


def _is_pointer(body: bytes) -> bool:
    """Whether this is a Git LFS pointer: a version, extensions, an oid and a size, in less than 1024 bytes."""
    if len(body) >= 1024 or not body.endswith(b"\n"):
        return False
    keys = [line.partition(b" ")[0] for line in body[:-1].split(b"\n")]
    middle = [key for key in keys[1:-2] if not key.startswith(b"ext-")]
    return keys[:1] == [b"version"] and keys[-2:] == [b"oid", b"size"] and not middle


# --- encodings


def plain_tar(files: Sequence[File]) -> bytes:
    """The canonical plain tar."""
    return b"".join(_member(file) for file in files) + b"\0" * 1024


def _member(file: File) -> bytes:
    path, mode = file.path.encode(), 0o755 if file.executable else 0o644
    if max(path) < 128 and len(path) <= 100:
        return _header(path, mode, len(file.body), b"0") + _padded(file.body)
    token = hashlib.sha256(path).hexdigest()[:12].encode()
    record = next(
        one for one in (b"%d path=%s\n" % (length, path) for length in range(2000)) if int(one.split()[0]) == len(one)
    )
    pax = _header(b"PaxHeaders/" + token, 0o644, len(record), b"x") + _padded(record)
    return pax + _header(token, mode, len(file.body), b"0") + _padded(file.body)


def _padded(body: bytes) -> bytes:
    while len(body) % 512:
        body += b"\0"
    return body


def _header(name: bytes, mode: int, size: int, kind: bytes) -> bytes:
    def octal(number: int, digits: int) -> bytes:
        return f"{number:0{digits}o}".encode() + b"\0"

    zero = octal(0, 7)
    fields = [name, octal(mode, 7), zero, zero, octal(size, 11), octal(0, 11), b" " * 8, kind]
    fields += [b"", b"ustar\0", b"00", b"", b"", zero, zero, b"", b""]
    ustar = struct.Struct("100s 8s 8s 8s 12s 12s 8s 1s 100s 6s 2s 32s 32s 8s 8s 155s 12s")
    fields[6] = octal(sum(ustar.pack(*fields)), 6) + b" "
    return ustar.pack(*fields)


def file_list(files: Sequence[File]) -> bytes:
    """The plain file list."""
    return b"".join(
        b"%s %d %s %s\n"
        % (b"0755" if file.executable else b"0644", len(file.body), _sha256(file.body).encode(), file.path.encode())
        for file in files
    )


def tree_digest(files: Sequence[File]) -> str:
    """The digest of the tree."""
    return "sha256:" + _folder({file.path: file for file in files})[1]


def _folder(files: dict[str, File]) -> tuple[int, str]:
    """The size of a folder and its digest; ``files`` by their path within it."""
    lines = {}
    for name in {path.partition("/")[0] for path in files}:
        file = files.get(name)
        if file is None:
            below = {path[len(name) + 1 :]: one for path, one in files.items() if path.startswith(name + "/")}
            size, digest = _folder(below)
            lines[name.encode()] = f"d - {size} {digest} {name}\n"
        else:
            size = len(file.body)
            lines[name.encode()] = f"f {'x' if file.executable else '-'} {size} {_sha256(file.body)} {name}\n"
    text = "dagferry tree 1\n" + "".join(lines[name] for name in sorted(lines))
    return sum(len(file.body) for file in files.values()), _sha256(text.encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
