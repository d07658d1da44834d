"""Whether Airflow reads what the agent switches: its DAG folder, the mounts in between, and its bytecode.

What Airflow reads follows a switch if the way to its DAG folder leads through the link of the root. A volume that is
mounted with ``subPath`` was followed to its end when the container began, and leads to that release for ever; a folder
above the releases shows Airflow each of them twice, and it gives up (recursive loop).
"""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from dagferry_storage import disk
from dagferry_storage.probe import Failed

from .api_client import AirflowClient
from .doctor_finding import Untried, Warned
from .root import CURRENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .doctor_finding import Step
    from .root import Root
    from .settings import Settings

DAGS_FOLDER: Final = "AIRFLOW__CORE__DAGS_FOLDER"
MOUNTS: Final = Path("/proc/self/mountinfo")
_MOST_LINKS: Final = 40
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_RELEASE: Final = re.compile(r"/releases/[0-9a-f]{16}(?:/|$)")


class Mount(NamedTuple):
    """One line of mountinfo (proc_pid_mountinfo(5)): what of its file system is mounted, and where."""

    source: str
    place: str


class Reader:
    """Airflow beside ``root``. ``dags_folder`` is as it is where the doctor runs, None where it is not known."""

    def __init__(self, root: Root, dags_folder: Path | None, environment: Mapping[str, str], mounts: Path) -> None:
        self._root = root
        self._dags = dags_folder
        self._environment = environment
        self._mounts = mounts

    def steps(self) -> list[tuple[str, Step]]:
        """The checks."""
        return [("sub_path", self.sub_path), ("dags_folder", self.dags_folder), ("bytecode", self.bytecode)]

    def sub_path(self) -> str:
        """Whether a mount stands between the link and those who read."""
        with disk.doing(f"reading {self._mounts}"):
            mounts = read_mounts(self._mounts.read_text())
        inside = f"{self._root.path.resolve()}/"
        for mount in mounts:
            if mount.place.startswith(inside):
                raise Failed(f"{mount.place} is a mount inside the root, which no switch can replace: mount the root")
        if self._dags is None:
            return "no mount is inside the root"
        release = self._release_at(self._dags)
        if release is not None and not self._follows(self._dags):
            raise Failed(
                f"{self._dags} is the release {release} itself, as a mount with subPath is: it will never follow a "
                f"switch; mount the whole volume, without subPath, and set {DAGS_FOLDER} to the link {CURRENT}"
            )
        for mount in mounts:
            if _is_at_or_below(str(self._dags), mount.place) and _RELEASE.search(mount.source):
                raise Failed(f"{mount.place} is mounted from {mount.source}: a subPath that will never follow a switch")
        return "no mount stands between the link and Airflow"

    def dags_folder(self) -> str:
        """Whether Airflow's DAG folder is at the link."""
        dags, link = self._dags, self._root.path / CURRENT
        if dags is None:
            raise Untried(f"say where Airflow reads: --dags-folder, or {DAGS_FOLDER}; it has to be {link}, or in it")
        if self._follows(dags):
            if not dags.exists() and link.exists():
                raise Failed(f"{dags} is not in the release that is live: look at the bundle's root, or at the path")
            return f"{dags} leads through {link}"
        if not dags.exists():
            raise Failed(f"{dags} is not there: set Airflow's dags_folder to {link}")
        found, root = dags.resolve(), self._root.path.resolve()
        if found == root or found in root.parents:
            raise Failed(
                f"{dags} contains all releases, each of them twice: Airflow stops with 'Detected recursive loop'; "
                f"set dags_folder to {link}"
            )
        raise Failed(f"{dags} does not lead through {link}: what is switched there, Airflow never sees")

    def bytecode(self) -> str:
        """Whether bytecode of one release can be taken for another's."""
        prefix = self._environment.get("PYTHONPYCACHEPREFIX")
        if prefix:
            raise Warned(
                f"PYTHONPYCACHEPREFIX is {prefix}: all releases share one place for bytecode, told apart by time and "
                "size alone; unset it in Airflow's containers"
            )
        return "bytecode lies in its own release"

    def _follows(self, path: Path) -> bool:
        """Whether the way to ``path`` leads through the root's link, however the volume is mounted there."""
        place, left, links = Path("/"), list(path.absolute().parts[1:]), 0
        while left:
            name = left.pop(0)
            here = place.parent if name == ".." else place / name
            if name == CURRENT and (place == self._root.path or _same(place, self._root.path)):
                return True
            if here.is_symlink() and links < _MOST_LINKS:
                links += 1
                target = here.readlink()
                place, left = Path("/") if target.is_absolute() else place, [*_names(target), *left]
            else:
                place = here
        return False

    def _release_at(self, path: Path) -> str | None:
        """The release that ``path`` is, or is in, by inode."""
        for name in self._root.names():
            if any(_same(self._root.releases / name, one) for one in (path, *path.parents)):
                return name
        return None


class Api:
    """Airflow's API, where ``settings`` say that it is told of switches."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def steps(self) -> list[tuple[str, Step]]:
        """The check."""
        return [("airflow_api", self.airflow_api)]

    def airflow_api(self) -> str:
        """Whether Airflow lets this agent ask, and knows the bundle."""
        settings = self._settings
        if settings.airflow_url is None:
            raise Untried("there is no --airflow-url")
        bundle = settings.airflow_bundle
        client = AirflowClient(settings.airflow_url, settings.airflow_credentials_file, bundle, threading.Event())
        errors = len(client.import_errors())
        if client.version() < 3:
            return f"Airflow 2 answers; import errors: {errors}"
        files = len(client.dag_files())
        if not files:
            raise Warned(f"Airflow knows no DAG of bundle {bundle!r}: is that its name there (--airflow-bundle)?")
        return f"Airflow answers; files of bundle {bundle!r} with DAGs: {files}, import errors: {errors}"


def read_mounts(text: str) -> list[Mount]:
    """The mounts of a mountinfo; lines that are none are left out."""
    rows = [line.split(" ") for line in text.splitlines()]
    return [Mount(_plain(row[3]), _plain(row[4])) for row in rows if len(row) > 5]


def _names(path: Path) -> tuple[str, ...]:
    return path.parts[1:] if path.is_absolute() else path.parts


def _plain(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)


def _is_at_or_below(path: str, place: str) -> bool:
    return place != "/" and (path == place or path.startswith(f"{place.rstrip('/')}/"))


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
