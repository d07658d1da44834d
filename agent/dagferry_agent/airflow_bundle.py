"""A bundle for Airflow 3 whose versions are the versions of dagferry: a run keeps the code that it began with.

In ``[dag_processor] dag_bundle_config_list`` (`dagferry airflow-config` prints the line)::

    [{"name": "analytics", "classpath": "dagferry_agent.airflow_bundle.DagferryBundle",
      "kwargs": {"store": "s3://bucket/prefix", "channel": "prod", "refresh_interval": 5}}]

* One instance without a version follows the channel, in the dag-processor. Others with a version are what tasks use.
  What either reads is the folder of one version, which never changes; so no import mixes two of them.
* A version that is on the disk needs no request, and one stat. The channel is asked with one conditional request.
* What cannot be had leaves things as they are: whoever has a version goes on with it, and says in the log why it is not
  a newer one. A task whose version is not here waits for the store, and then fails with the reason.
* What Airflow misses of a new version because it came too soon is shown to it again (`version_settling`).
* Everything foreseen, and everything else, is raised as `AirflowException`: in Airflow 3.0 to 3.2 any other error ends
  the dag-processor.
"""

from __future__ import annotations

import inspect
import logging
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow.configuration import conf  # type: ignore[import-not-found]
from airflow.dag_processing.bundles import base  # type: ignore[import-not-found]
from airflow.exceptions import AirflowException  # type: ignore[import-not-found]

from dagferry_schemas.errors import DagferryError, DeliveryFailed, MachineFault, Usage
from dagferry_schemas.names import NAME, VERSION
from dagferry_storage import disk
from dagferry_storage.keyring_folder import KeyringFolder
from dagferry_storage.metered import MeteredStore
from dagferry_storage.stores import open_store

from . import airflow_runs, bundle_kwargs, version_cleanup
from . import state as memory
from .clock import utc_now
from .root import Root
from .settings import Settings
from .version_cleanup import Limits
from .version_folders import VersionFolders
from .version_settling import Settling
from .version_sources import AgentFirst, FromAgent, FromStore, Source
from .version_use import Hold, VersionUse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from .version_sources import Found

log = logging.getLogger(__name__)
SETTLING_SECONDS: Final = 5.0
LONGEST_PAUSE: Final = 15.0
"""Seconds between two attempts of a task to get its version."""


class DagferryBundle(base.BaseDagBundle):  # type: ignore[misc]  # Airflow is in another environment
    """The DAGs of a channel of ``bundle`` (else: the name in Airflow) in ``store``, or in an agent's ``agent_root``.

    With both, the agent says what is live, and the store has versions that the agent has no more. ``keyring``: a folder
    of keys, without which records are believed unsigned. ``wait_seconds``: how long a task waits for its version.
    ``keep_days``: how long versions of runs that ended stay on the disk, so that clearing these needs no store.
    """

    supports_versioning = True
    _settling: Settling | None = None

    def __init__(
        self,
        *,
        store: str | None = None,
        bundle: str | None = None,
        channel: str = "prod",
        keyring: str | None = None,
        agent_root: str | None = None,
        wait_seconds: float = 60.0,
        keep_days: float = 7.0,
        view_url_template: str | None = None,
        **kwargs: Any,  # noqa: ANN401 (each Airflow has others)
    ) -> None:
        told = {"store": store, "bundle": bundle, "channel": channel, "keyring": keyring, "agent_root": agent_root}
        told |= {"view_url_template": view_url_template}
        with _as_airflow_exception(str(kwargs.get("name"))):
            numbers = {"wait_seconds": wait_seconds, "keep_days": keep_days}
            bundle_kwargs.check(str(kwargs.get("name")), _AIRFLOWS, {**told, **numbers, **kwargs})
        if _TAKES_TEMPLATE:
            kwargs["view_url_template"] = view_url_template
        super().__init__(**kwargs)
        self.bundle = bundle or self.name
        self.channel = channel
        self._template = view_url_template
        self._store = store
        self._agent_root = agent_root
        self._keyring = keyring
        self._wait_seconds = wait_seconds
        self._keep_days = keep_days
        self._beside = self.base_dir / "dagferry"
        self._folders = VersionFolders(self.versions_dir, self._beside)
        self._use = VersionUse(base.get_bundle_tracking_dir(bundle_name=self.name))
        self._holds: dict[str, Hold | None] = {}
        self._current: str | None = self.version
        self._cleaned: float | None = None
        self._trouble: str | None = None

    @property
    def refresh_interval(self) -> float:
        """Seconds between two looks at the channel; fewer until Airflow has taken the version that came last."""
        return self._refresh_interval if self._settling is None else min(self._refresh_interval, SETTLING_SECONDS)

    @refresh_interval.setter
    def refresh_interval(self, seconds: float) -> None:
        self._refresh_interval = seconds

    @property
    def path(self) -> Path:
        """The folder of the version; one that is not there, if none ever was."""
        return self._folders.path(self._current or self._remembered() or "nothing-yet")

    def get_current_version(self) -> Any:  # noqa: ANN401 (a text before Airflow 3.3)
        """The version that `path` is of."""
        version = self._current or self._remembered()
        if version is None or not hasattr(base, "BundleVersion"):
            return version
        return base.BundleVersion(version=version)

    def view_url(self, version: str | None = None) -> str | None:
        """Where people can look at that version (Airflow 3.0)."""
        return self._template.format(**{**vars(self), "version": version}) if self._template and version else None

    def initialize(self) -> None:
        """Have the version on the disk. Raises `AirflowException`."""
        with self._told():
            if self.version is not None:
                self._have(self.version)
            else:
                with self.lock():
                    self._follow()
        super().initialize()

    def refresh(self) -> None:
        """Look at what the channel says. Raises `AirflowException` if that cannot be had, and nothing was before."""
        with self._told():
            if self.version is not None:
                raise Usage(f"{self.name} is at version {self.version}, and stays there")
            with self.lock():
                self._follow()
            self._settle()
            self._clean()

    def _have(self, version: str) -> None:
        """The pinned version; one stat if it is here."""
        if not VERSION.fullmatch(version):
            raise Usage(f"{version!r} is no version of a bundle")
        while not self._hold_if_here(version):
            found = self._wait(version)
            self._folders.add(version, found.wanted.tree, found.fill)

    def _wait(self, version: str) -> Found:
        deadline, pause = time.monotonic() + self._wait_seconds, 1.0
        while True:
            try:
                return self._source.named(version)
            except MachineFault:
                raise
            except DeliveryFailed as error:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise
                log.warning("version %s of %s is not to be had yet: %s", version, self.name, error.message)
                time.sleep(min(pause, left))
                pause = min(2 * pause, LONGEST_PAUSE)

    def _follow(self) -> None:
        """Have what the channel says, and switch to it; what is wrong is told, as long as there is a version."""
        with disk.doing(f"reading {self._beside}"):
            self._beside.mkdir(parents=True, exist_ok=True)
            state = memory.load(self._beside, self._settings.bundle, self._settings.channel)
        current = state.history[-1].version if state.history else None
        here = current is not None and self._hold_if_here(current)
        try:
            found = self._source.latest(state, keeps=here)
            version = found.wanted.version
            while not self._hold_if_here(version):
                self._folders.add(version, found.wanted.tree, found.fill)
        except DagferryError as error:
            if not here:
                raise
            if error.message != self._trouble:  # once, and not every few seconds
                log.error("%s stays at version %s: %s (%s)", self.name, current, error.message, error.hint)
            self._trouble = error.message
            self._switch(current)
            return
        if self._trouble is not None:
            log.info("%s follows its channel again", self.name)
            self._trouble = None
        self._folders.require_same(version, found.wanted.tree)
        known = state.heard(found.wanted.tree, found.floor or state.floor).served(found.wanted, utc_now())
        if known != state:
            with disk.doing(f"writing {self._beside / memory.FILE}"):
                memory.save(self._beside, known, durable=True)
        self._switch(version)

    def _switch(self, version: str | None) -> None:
        if version is None or version == self._current:
            return
        if self._current is not None:
            log.info("%s goes from version %s to %s", self.name, self._current, version)
        self._current = version
        self._settling = Settling(str(self._folders.path(version)), datetime.now(timezone.utc), _TOO_SOON)
        self._folders.touch(version)

    def _settle(self) -> None:
        """Show files again whose change Airflow has missed."""
        if self._settling is None or self._current is None:
            return
        try:
            parses = airflow_runs.parses(self.name)
        except Exception:
            log.exception("what Airflow has parsed of %s cannot be found out", self.name)
            return
        files, settled = self._settling.look(parses, datetime.now(timezone.utc))
        if files:
            log.info("%s: %d files of version %s are to be parsed once more", self.name, len(files), self._current)
            self._folders.touch(self._current, files)
        if settled:
            self._settling = None

    def _clean(self) -> None:
        """Remove versions that no run needs, now and then; what runs need is held against Airflow's clean-up, too."""
        if self._cleaned is not None and time.monotonic() < self._cleaned + _CLEAN_EVERY:
            return
        self._cleaned = time.monotonic()
        try:
            needed = {*airflow_runs.needed_versions(self._keep_days), self._current or ""}
        except Exception:
            log.exception("what runs need cannot be found out: no version of %s is removed", self.name)
            return
        for version in [one for one in self._holds if one not in needed]:
            self._release(version)
        for version in needed.intersection(self._folders.names()):
            self._hold(version)
        version_cleanup.clean(self._folders, self._use, needed, _LIMITS)

    def _hold(self, version: str) -> None:
        if self._holds.get(version) is None:
            self._holds[version] = self._use.hold(version)

    def _hold_if_here(self, version: str) -> bool:
        """Whether the version is on the disk; if so, nobody removes it from now on."""
        self._hold(version)
        if self._folders.has(version):
            return True
        self._release(version)
        with self._use.unused(version):  # what it says is of a version that is gone
            return False

    def _release(self, version: str) -> None:
        hold = self._holds.pop(version, None)
        if hold is not None:
            hold.close()

    def _remembered(self) -> str | None:
        """The version that this bundle was at the last time, by its memory; None if it cannot be said."""
        try:
            state = memory.find(self._beside)
        except (DagferryError, OSError):
            return None
        return state.history[-1].version if state is not None and state.history else None

    @cached_property
    def _settings(self) -> Settings:
        if not NAME.fullmatch(self.bundle):
            raise Usage(f"bundle {self.bundle!r} is not allowed", f"say `bundle` in the kwargs of {self.name}")
        return Settings(self._store or "", self.bundle, self.channel, self._beside, agent_id="airflow")

    @cached_property
    def _source(self) -> Source:
        keyring = KeyringFolder(Path(self._keyring) if self._keyring is not None else None)
        if not keyring.verifies:
            log.warning("%s has no keyring: records are believed without a signature", self.name)
        agent = FromAgent(self._settings, Root(Path(self._agent_root)), keyring) if self._agent_root else None
        if not self._store:
            if agent is None:
                raise Usage(f"{self.name} has neither a store nor an agent's root", "say `store` in its kwargs")
            return agent
        store = FromStore(self._settings, MeteredStore(open_store(self._store)), keyring)
        return AgentFirst(agent, store) if agent is not None else store

    def _told(self) -> AbstractContextManager[None]:
        """Raise every error as `AirflowException`."""
        return _as_airflow_exception(self.name)


@contextmanager
def _as_airflow_exception(name: str) -> Iterator[None]:
    try:
        yield
    except DagferryError as error:
        raise AirflowException(f"{name}: {error.message} ({error.hint})") from error
    except AirflowException:
        raise
    except Exception as error:
        raise AirflowException(f"{name}: {type(error).__name__}: {error}") from error


_AIRFLOWS: Final = frozenset(inspect.signature(base.BaseDagBundle.__init__).parameters)
_TAKES_TEMPLATE: Final = "view_url_template" in _AIRFLOWS
_TOO_SOON: Final = timedelta(seconds=conf.getint("core", "min_serialized_dag_update_interval", fallback=30))
_CLEAN_EVERY: Final = conf.getfloat("dag_processor", "stale_bundle_cleanup_interval", fallback=1800.0)
_LIMITS: Final = Limits(
    conf.getint("dag_processor", "stale_bundle_cleanup_min_versions", fallback=10),
    conf.getfloat("dag_processor", "stale_bundle_cleanup_age_threshold", fallback=21600.0),
)
"""When, and how much, Airflow's own clean-up removes; ours goes by the same figures."""
