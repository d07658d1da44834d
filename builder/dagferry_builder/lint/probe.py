"""The probe: imports DAG files with a real Airflow and reports what it saw. It runs in production's Python, not ours.

This is one file on purpose: it is sent to whatever interpreter the user names, which may be in a container, and needs
nothing but the standard library (Python 3.8 or newer) and Airflow (2.10 or newer).

1. The *probe* imports Airflow once and never imports a DAG file. Files are imported by forked children, so that no
   file can hurt the probe or another file's result. A child takes several files, one after the other, because a fork
   of an Airflow costs more than most DAG files; between two of them it takes back what an import may leave behind.
2. A file that did not go well is imported once more in a child of its own before anything is said about it, and a
   child in which something went wrong, or which something was left behind in, takes no further file.
3. A child is killed with all its descendants when a file exceeds its time. Its memory is limited.
4. Results go through a pipe of each child, in frames that begin with a secret of that child; anything else in the
   pipe means that the file wrote where it should not.
5. While a file is imported, an audit hook watches what it does. What would hurt others (signals, changes of files,
   the network) is refused with an exception and reported.

The builder talks to the probe in lines of JSON, on stdin and on the stdout that the probe was started with. It may ask
for the environment alone, which takes no Airflow; and Airflow is imported before the tree has to be there.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import faulthandler
import functools
import gc
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import io
import itertools
import json
import logging
import os
import re
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time
import traceback
import warnings
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, NoReturn, Optional, Set, Tuple

Json = Dict[str, Any]
NONCE = 16
HEADER = struct.Struct(">I")
MAX_RESULT = 64 * 1024 * 1024
LOUD = 64 * 1024
"""Characters that a file may print while it is imported."""
LAST = 5.0
"""Seconds that a file has for everything besides its import, and that Airflow's own time limit gets to take effect."""
TEXT = 1000
"""Characters of an exception's text that are reported."""
PROCESSES = 256
"""Processes and threads that a user other than root may have more than before, while a file is imported."""
DEEP = 3
"""Levels of nesting in a parameter's default that are kept as they are."""


# --- what a file does while it is imported ---------------------------------------------------------------------------


class Refusal(PermissionError):
    """What the audit hook raises into the file that is imported."""


class NoNetwork(Refusal):
    """The network was refused."""


class Watch:
    """What happens while one file is imported; the audit hook and the wrapped functions of Airflow report here."""

    def __init__(self, folder: str, allow_network: bool, last_words: str) -> None:
        self.folder = folder
        self._below = folder + os.sep
        self.last_words = last_words
        self.allow_network = allow_network
        self.active = False
        self.file = ""
        self.error: Optional[BaseException] = None
        self.seconds = 0.0
        self.problems: List[Json] = []
        self.lookups: List[Json] = []
        self.reads: Set[str] = set()
        self.searched: Set[str] = set()
        self.variables: Set[str] = set()
        self.created: Dict[str, Tuple[str, int]] = {}
        self.looking_up = 0
        self._settings: List[Dict[Any, Any]] = []
        self.acted = self.left_settings = False
        self._temporary = os.path.realpath(tempfile.gettempdir()) + os.sep

    def begin(self, file: str) -> None:
        self.file, self.error, self.seconds = file, None, 0.0
        self.problems, self.lookups, self.created = [], [], {}
        self.reads, self.searched = {self.relative(file)}, set()
        self.variables = set()
        self.acted = self.left_settings = False
        self.active = True

    def relative(self, path: str) -> str:
        plain = path.startswith(self._below) and "/." not in path and "//" not in path
        return path[len(self._below) :] if plain else os.path.relpath(path, self.folder)

    def inside(self, path: str) -> bool:
        return path.startswith(self._below)

    def problem(self, rule: str, message: str, path: str = "", line: int = 0, hint: str = "") -> None:
        message = message.replace(self.folder + os.sep, "").replace(self.folder, ".")
        found = {
            "rule": rule, "path": self.relative(path or self.file), "line": line, "message": message, "hint": hint
        }  # fmt: skip
        if found not in self.problems:
            self.problems.append(found)

    def cause(self) -> Tuple[str, int, bool]:
        """The innermost place in the tree that the present moment goes back to: path, line, and whether it *called*.

        Code that a package runs while it is itself being imported was not called by the DAG's author.
        """
        frame: Any = sys._getframe(2)
        called = True
        while frame is not None:
            name = frame.f_code.co_filename
            if name.startswith("<frozen importlib"):
                called = False
            elif self.inside(name):
                return name, frame.f_lineno, called
            frame = frame.f_back
        return "", 0, False

    # The events are those of https://docs.python.org/3/library/audit_events.html

    def on_open(self, path: object, mode: object, flags: object) -> None:
        if isinstance(path, int) or path is None:
            return
        target = os.path.abspath(os.fsdecode(path))  # type: ignore[arg-type]
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if writes:
            self.on_change("opens for writing", target)
        elif self.inside(target) and "__pycache__" not in target:
            self.reads.add(self.relative(target))

    def on_change(self, verb: str, path: object, folder: object = None) -> None:
        if isinstance(path, int) or path is None:
            return
        target = os.fsdecode(path)  # type: ignore[arg-type]
        if isinstance(folder, int) and folder >= 0:  # the descriptor of the folder that the path is relative to
            with contextlib.suppress(OSError):
                target = os.path.join(os.readlink("/proc/self/fd/%d" % folder), target)
        target = os.path.abspath(target)
        ours = self.inside(target + os.sep)
        if target.startswith("/dev/") or (target.startswith(self._temporary) and not ours):
            return
        origin, line, called = self.cause()
        if not called and not ours:
            return
        shown = self.relative(target) if ours else target
        self.problem("change-at-import", "the import %s %r" % (verb, shown), origin, line)
        raise Refusal("dagferry lint: a DAG file that is imported may not change files (%s)" % shown)

    def on_rename(self, old: object, new: object, old_folder: object = None, new_folder: object = None) -> None:
        self.on_change("renames", old, old_folder)
        self.on_change("renames something to", new, new_folder)

    def on_list(self, path: object = None, *_rest: object) -> None:
        if isinstance(path, int) or sys._getframe(2).f_code.co_filename.startswith("<frozen importlib"):
            return
        target = os.path.abspath(os.fsdecode(path or "."))  # type: ignore[arg-type]
        if self.inside(target + os.sep):
            self.searched.add("*")

    def on_network(self, what: object) -> None:
        origin, line, _called = self.cause()
        if not origin:
            return
        self.problem("network-at-import", "the import connects to %s" % (what,), origin, line)
        if not self.allow_network:
            raise NoNetwork("dagferry lint: a DAG file that is imported may not use the network (%s)" % (what,))

    def on_connect(self, _socket: object, address: object) -> None:
        if isinstance(address, tuple):
            self.on_network(":".join(map(str, address[:2])))

    def on_resolve(self, host: object = None, *_rest: object) -> None:
        if host:
            self.on_network(host.decode() if isinstance(host, bytes) else host)

    def on_process(self, program: object = None, *_rest: object) -> None:
        origin, line, called = self.cause()
        if called:
            self.acted = True
            if isinstance(program, (bytes, str, os.PathLike)):
                program = os.fsdecode(program).split(" ")[0]
            self.problem("process-at-import", "the import starts a process (%s)" % (program or "fork"), origin, line)

    def on_native(self, *_rest: object) -> None:
        self.acted = self.acted or self.cause()[2]

    def on_kill(self, pid: int, *_rest: object) -> None:
        if pid == os.getpid():
            self.leave_last_words()
            return
        origin, line, called = self.cause()
        if called or pid in (os.getppid(), 0, -1, 1):
            self.problem("signal-at-import", "the import sends a signal to process %s" % (pid,), origin, line)
            raise Refusal("dagferry lint: a DAG file that is imported may not send signals")

    def leave_last_words(self) -> None:
        """Write down where the file is, in the way of `faulthandler`: the process may not come back."""
        origin, line, _called = self.cause()
        with open(self.last_words, "a") as file:
            file.write('  File "%s", line %d in\n' % (origin, line))

    def on_database(self, path: object) -> None:
        if self.looking_up or str(path) != os.environ["DAGFERRY_PROBE_DATABASE"]:
            return
        origin, line, _called = self.cause()
        if origin:
            self.problem("database-at-import", "the import asks Airflow's database", origin, line)

    def events(self) -> Dict[str, Callable[..., None]]:
        return {
            "open": self.on_open,
            "os.listdir": self.on_list,
            "os.scandir": self.on_list,
            "glob.glob": self.on_list,
            "socket.connect": self.on_connect,
            "socket.sendto": self.on_connect,
            "socket.getaddrinfo": self.on_resolve,
            "socket.gethostbyname": self.on_resolve,
            "sqlite3.connect": self.on_database,
            "subprocess.Popen": self.on_process,
            "os.system": self.on_process,
            "os.exec": self.on_process,
            "os.posix_spawn": self.on_process,
            "os.fork": self.on_process,
            "os.forkpty": self.on_process,
            "os.kill": self.on_kill,
            "ctypes.dlopen": self.on_native,
            "ctypes.dlsym": self.on_native,
            "os.killpg": self.on_kill,
            "os.remove": partial(self.on_change, "removes"),
            "os.rmdir": partial(self.on_change, "removes"),
            "shutil.rmtree": partial(self.on_change, "removes"),
            "os.rename": self.on_rename,
            "os.truncate": lambda path, _length: self.on_change("truncates", path),
            "os.mkdir": lambda path, _mode, *at: self.on_change("makes the folder", path, *at),
            "os.link": lambda _old, new, _at, *at: self.on_change("links", new, *at),
            "os.symlink": lambda _old, new, *at: self.on_change("links", new, *at),
            "os.chmod": lambda path, _mode, *at: self.on_change("changes the mode of", path, *at),
            "os.chown": lambda path, _uid, _gid, *at: self.on_change("changes the owner of", path, *at),
            "os.utime": lambda path, _times, _ns, *at: self.on_change("changes the time of", path, *at),
        }

    def install(self) -> None:
        """Watch this process from now on; an audit hook stays for its life."""
        events = self.events()
        owner = threading.get_ident()

        def hook(event: str, arguments: Tuple[Any, ...]) -> None:
            if event not in events or not self.active:
                return
            watched = events[event]
            if threading.get_ident() == owner or event not in ("open", "os.listdir", "os.scandir"):
                watched(*arguments)

        sys.addaudithook(hook)
        self._watch_imports()
        self._watch_variables()
        self._watch_ends()

    def _watch_variables(self) -> None:
        """Learn which variables of the environment a result depends on, besides Airflow's, which all count."""
        kind: Any = type(os.environ)
        get = kind.__getitem__

        def getitem(environment: Any, name: Any) -> Any:
            if self.active and isinstance(name, str) and not name.startswith("AIRFLOW"):
                self.variables.add(name)
            return get(environment, name)

        def contains(environment: Any, name: Any) -> bool:  # asked for by far the most, and by Airflow for its own
            if self.active and isinstance(name, str) and not name.startswith("AIRFLOW"):
                self.variables.add(name)
            return environment.encodekey(name) in environment._data

        def changing(name: str) -> None:
            change = getattr(kind, name)

            def changed(environment: Any, *arguments: Any) -> None:
                self._forget_settings()
                change(environment, *arguments)

            setattr(kind, name, changed)

        kind.__getitem__ = getitem
        kind.__contains__ = contains
        changing("__setitem__")
        changing("__delitem__")

    def _watch_ends(self) -> None:
        """Learn where the process ends, if it ends in the middle of an import."""
        leave, handle = os._exit, signal.signal
        handle(signal.SIGSEGV, signal.SIG_DFL)
        faulthandler.enable(open(self.last_words, "a"), all_threads=False)  # noqa: SIM115 (it stays open)

        def _exit(status: int) -> NoReturn:
            if self.active:
                self.leave_last_words()
            leave(status)

        def signal_but_crashes(number: Any, handler: Any) -> Any:
            # Airflow 3 handles SIGSEGV in Python, which comes back to the faulty instruction for ever.
            return signal.getsignal(number) if number == signal.SIGSEGV else handle(number, handler)

        os._exit = _exit
        signal.signal = signal_but_crashes  # type: ignore[assignment]

    def _watch_imports(self) -> None:
        watch = self
        # The class that all loaders of sources have this from; Airflow has one of its own from 3.4 on.
        kind: Any = next(one for one in importlib.machinery.SourceFileLoader.__mro__ if "exec_module" in vars(one))
        load = kind.exec_module

        def exec_module(self: Any, module: Any) -> None:
            if not watch.active:
                load(self, module)
                return
            path = getattr(self, "path", None) or self.get_filename(module.__name__)
            if watch.inside(path):
                watch.reads.add(watch.relative(path))
            if path != watch.file:
                load(self, module)
                return
            began = time.perf_counter()
            try:
                load(self, module)
            except BaseException as error:
                watch.error = error
                raise
            finally:
                watch.seconds = time.perf_counter() - began

        class Searched:
            """Comes last on the meta path, so it is asked for what nobody found."""

            @staticmethod
            def find_spec(name: str, *_rest: object) -> None:
                if watch.active:
                    watch.searched.add(name)

        kind.exec_module = exec_module
        sys.meta_path.append(Searched)

    def watch_airflow(self, airflow: Airflow) -> None:
        """Notice DAGs that are made, and Variables and Connections that are read."""
        made = airflow.dag_class.__init__

        def init(dag: Any, *arguments: Any, **options: Any) -> None:
            made(dag, *arguments, **options)
            if self.active and not getattr(dag, "is_subdag", False):
                origin, line, _called = self.cause()
                self.created.setdefault(id_text(getattr(dag, "dag_id", "")), (origin, line))

        init.__signature__ = inspect.signature(made)  # type: ignore[attr-defined]
        init.__wrapped__ = made  # type: ignore[attr-defined]
        airflow.dag_class.__init__ = init
        for module, owner, name, kind in LOOKUPS:
            try:
                holder = getattr(importlib.import_module(module), owner)
                self._watch_lookup(holder, name, kind)
            except (ImportError, AttributeError):
                continue

        for module in ("airflow.configuration", "airflow.sdk.configuration"):
            with contextlib.suppress(ImportError, AttributeError):
                self._remember_settings(importlib.import_module(module).conf)

    def _remember_settings(self, conf: Any) -> None:
        """Have a configuration look a setting up once, until something changes it or the environment.

        Every task asks for a dozen settings, and Airflow goes through the environment, files and defaults each time.
        """
        get = conf.get
        known: Dict[Any, Any] = {}
        self._settings.append(known)

        def remembered(*arguments: Any, **options: Any) -> Any:
            asked = (arguments, tuple([(name, type(value), value) for name, value in options.items()]))
            try:
                return known[asked]
            except (KeyError, TypeError):
                found = get(*arguments, **options)
            with contextlib.suppress(TypeError):
                known[asked] = found
            return found

        def changing(change: Any) -> Any:
            def changed(*arguments: Any, **options: Any) -> Any:
                try:
                    return change(*arguments, **options)
                finally:
                    self._forget_settings()
                    self.left_settings = self.left_settings or self.active

            return changed

        conf.get = remembered
        for name in CHANGES_OF_SETTINGS:
            setattr(conf, name, changing(getattr(conf, name)))

    def _forget_settings(self) -> None:
        for known in self._settings:
            known.clear()

    def _watch_lookup(self, holder: Any, name: str, kind: str) -> None:
        kept = inspect.getattr_static(holder, name)
        if not isinstance(kept, (staticmethod, classmethod)):
            return
        function = kept.__func__
        at = 1 if isinstance(kept, classmethod) else 0

        def lookup(*arguments: Any, **options: Any) -> Any:
            if self.active and not self.looking_up:
                origin, line, _called = self.cause()
                wanted = arguments[at] if len(arguments) > at else next(iter(options.values()), "")
                if origin:
                    found = {"kind": kind, "name": str(wanted), "path": self.relative(origin), "line": line}
                    self.lookups.append(found)
            self.looking_up += 1
            try:
                return function(*arguments, **options)
            finally:
                self.looking_up -= 1

        setattr(holder, name, type(kept)(lookup))


CHANGES_OF_SETTINGS = ("set", "read", "read_file", "read_string", "read_dict", "remove_option", "remove_section")
"""Methods of a configuration after which a setting may have another value."""
LOOKUPS = (
    ("airflow.models.variable", "Variable", "get", "variable"),
    ("airflow.sdk.definitions.variable", "Variable", "get", "variable"),
    ("airflow.models.connection", "Connection", "get_connection_from_secrets", "connection"),
    ("airflow.sdk.definitions.connection", "Connection", "get", "connection"),
    ("airflow.sdk.bases.hook", "BaseHook", "get_connection", "connection"),
)
"""Where Airflow looks Variables and Connections up: module, class, method."""


# --- Airflow, whatever its version -----------------------------------------------------------------------------------


class Airflow:
    """The parts of Airflow that are used, under the names of the version that is installed."""

    def __init__(self) -> None:
        self.version = str(importlib.import_module("airflow").__version__)
        self.bag_class = self._first("airflow.dag_processing.dagbag:DagBag", "airflow.models.dagbag:DagBag")
        self.dag_class = self._first("airflow.sdk.definitions.dag:DAG", "airflow.models.dag:DAG")
        self.serializer = self._first(
            "airflow.serialization.serialized_objects:DagSerialization",
            "airflow.serialization.serialized_objects:SerializedDAG",
        )
        accepted = inspect.signature(self.bag_class.__init__).parameters
        wanted = {"include_examples": False, "collect_dags": False, "safe_mode": False}
        self._options = {name: value for name, value in wanted.items() if name in accepted}
        # Airflow looks its settings up for each bag, which for one file in each is as much as to check a small DAG.
        self._empty_bag = self._told_class()(os.devnull, **self._options)

    @staticmethod
    def _first(*places: str) -> Any:
        for place in places:
            module, _, name = place.partition(":")
            try:
                return getattr(importlib.import_module(module), name)
            except (ImportError, AttributeError):
                continue
        raise ImportError("this Airflow has none of " + ", ".join(places))

    def bag(self, before: Callable[[Any], None], failed: Callable[[Any, BaseException], None]) -> Any:
        """An empty DagBag. ``before`` is called with each DAG that it takes, ``failed`` with one that it refuses."""
        bag = copy.copy(self._empty_bag)
        for name, value in vars(bag).items():
            if isinstance(value, (dict, list, set)):
                setattr(bag, name, copy.copy(value))
        bag.dagferry_before, bag.dagferry_failed = before, failed
        return bag

    def _told_class(self) -> Any:
        class Bag(self.bag_class):  # type: ignore[misc, name-defined]
            def bag_dag(self, dag: Any, *arguments: Any, **options: Any) -> Any:
                try:
                    self.dagferry_before(dag)
                    return super().bag_dag(dag, *arguments, **options)
                except BaseException as error:
                    self.dagferry_failed(dag, error)
                    raise

        return Bag

    def list_files(self, folder: str) -> Tuple[List[str], Set[str]]:
        """The files that Airflow takes for DAG files, ``.airflowignore`` heeded, and those that it would look into."""
        if hasattr(self.bag_class, "_find_definitions"):  # from 3.4 on
            return self._defined(folder, False), set(self._defined(folder, self.safe_mode()))
        try:
            registry = importlib.import_module("airflow.dag_processing.importers").get_importer_registry()
            every = [str(path) for path in registry.list_dag_files(folder, safe_mode=False)]
        except ImportError:
            list_paths = importlib.import_module("airflow.utils.file").list_py_file_paths
            wanted = {"safe_mode": False, "include_examples": False}
            accepted = inspect.signature(list_paths).parameters
            options = {name: value for name, value in wanted.items() if name in accepted}
            every = [str(path) for path in list_paths(folder, **options)]
        might_contain_dag = importlib.import_module("airflow.utils.file").might_contain_dag
        safe_mode = self.safe_mode()
        return every, {file for file in every if might_contain_dag(file, safe_mode)}

    def _defined(self, folder: str, safe_mode: bool) -> List[str]:
        bag = self.bag(lambda _dag: None, lambda _dag, _error: None)
        places = (getattr(item, "path", None) for _, item in bag._find_definitions(Path(folder), safe_mode=safe_mode))
        return [str(place) for place in places if place is not None]

    def safe_mode(self) -> bool:
        """Whether production passes over files that do not look like DAG files."""
        from airflow.configuration import conf  # type: ignore[import-not-found]

        return bool(conf.getboolean("core", "dag_discovery_safe_mode", fallback=True))

    def warm_up(self, scratch: str) -> None:
        """Load what Airflow loads with the first DAG, so that no child has to."""
        try:
            described = importlib.import_module("cron_descriptor.ExpressionDescriptor")
            # Airflow describes each schedule in words, and this package reads its dictionary anew for each.
            described.GetText = functools.lru_cache(None)(described.GetText)  # type: ignore[attr-defined]
        except (ImportError, AttributeError):
            pass
        with contextlib.suppress(ImportError, AttributeError):
            made = importlib.import_module("airflow.models.baseoperator").BaseOperator.__init__
            made.__signature__ = inspect.signature(made)  # Airflow 2 works it out anew for each task
        with contextlib.suppress(ImportError, AttributeError, TypeError):  # it checks the same, only slower
            self.serializer._json_schema = remembering(self.serializer._json_schema)
        file = os.path.join(scratch, "warm_up.py")
        Path(file).write_text(WARM_UP)
        bag = self.bag(lambda _dag: None, lambda _dag, _error: None)
        for dag in bag.process_file(file):
            dag.get_template_env()
            self.serializer.to_dict(dag)


WARM_UP = """\
import datetime

from airflow import DAG

try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

with DAG("warm_up", schedule="@daily", start_date=datetime.datetime(2024, 1, 1)):
    BashOperator(task_id="one", bash_command="true") >> BashOperator(task_id="two", bash_command="true")
"""
IMPORT = re.compile(
    rb"^[ \t]*(from[ \t]+airflow[A-Za-z0-9_.]*[ \t]+import[ \t]+(?:\([^)]*\)|[A-Za-z0-9_, \t]+)"
    rb"|import[ \t]+airflow[A-Za-z0-9_.]*)",
    re.MULTILINE,
)


def preload(files: List[str]) -> None:
    """Import what the files import of Airflow, as Airflow's own DAG processor does before it forks."""
    statements: Set[bytes] = set()
    for file in files:
        if file.endswith(".py"):
            statements.update(IMPORT.findall(Path(file).read_bytes()))
    for statement in sorted(statements):
        try:
            exec(statement, {})  # an import of Airflow, by the pattern
        except BaseException:  # noqa: BLE001 (the file that has it will say so)
            continue


# --- Airflow's schema of serialized DAGs ------------------------------------------------------------------------------


def remembering(validator: Any) -> Any:
    """A validator like ``validator`` that does not look again at what has the shape of something that was valid.

    Airflow holds each serialized DAG against a JSON schema. Tasks differ in their texts above all, and hardly anything
    in the schema depends on those, so most of them need not be looked at.
    """
    validators = importlib.import_module("jsonschema.validators")
    kind = validator.__class__
    follow = kind.VALIDATORS["$ref"]
    shape = Shape(validator.schema)
    valid: Set[Any] = set()

    def follow_unless_known(part: Any, reference: Any, instance: Any, schema: Any) -> Iterator[Any]:
        seen = (reference, shape.of(instance))
        if seen in valid:
            return
        errors = list(follow(part, reference, instance, schema) or ())
        if not errors:
            valid.add(seen)
        yield from errors

    return validators.extend(kind, {"$ref": follow_unless_known})(validator.schema)


class Shape:
    """Reduces a JSON value to what ``schema`` can tell it by. Raises `TypeError` for one that looks deeper.

    What stays: keys, types, the length of lists and whether their items repeat; of a text whether it is one that the
    schema names and which of the schema's patterns it matches; of a number on which side of the schema's numbers it is.
    """

    _DEEPER = frozenset({"format", "minLength", "maxLength", "contentEncoding", "contentMediaType", "multipleOf"})

    def __init__(self, schema: Any) -> None:
        self._named: Set[str] = set()
        self._patterns: List[Any] = []
        self._numbers: Set[float] = set()
        self._unique = False
        self._learn(schema)

    def _learn(self, schema: Any) -> None:
        for key, value in schema.items() if isinstance(schema, dict) else enumerate(schema):
            if key in self._DEEPER:
                raise TypeError("the schema has %r" % key)
            if key in ("pattern", "patternProperties"):
                self._patterns += [re.compile(one) for one in ([value] if isinstance(value, str) else value)]
            self._unique = self._unique or key == "uniqueItems"
            if isinstance(value, str):
                self._named.add(value)
            elif isinstance(value, (int, float)):
                self._numbers.add(value)
            elif isinstance(value, (dict, list)):
                self._learn(value)

    def of(self, value: Any) -> Any:
        """The shape of ``value``: equal shapes are valid alike."""
        if isinstance(value, str):
            return value if value in self._named else tuple([one.search(value) is None for one in self._patterns])
        if isinstance(value, dict):
            return dict, tuple([(key, self.of(inner)) for key, inner in value.items()])
        if isinstance(value, (list, tuple)):
            different = len(set(map(repr, value))) if self._unique else 0
            return type(value), different, tuple(map(self.of, value))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return type(value), value == value // 1, tuple([(value > one) - (value < one) for one in self._numbers])
        return type(value), value


# --- what is said of a DAG -------------------------------------------------------------------------------------------


def id_text(name: Any) -> str:
    """An id as Airflow stores it: of a member of an enumeration of strings, that is the value."""
    return str.__str__(name) if isinstance(name, str) else str(name)


def facts_of(dag: Any, file: str, seconds: float) -> Json:
    """The inventory's facts of one DAG."""
    tasks = [_task_facts(task) for task in sorted(dag.tasks, key=lambda task: id_text(task.task_id))]
    owners = {owner.strip() for task in tasks for owner in task["owner"].split(",") if owner.strip()}
    starts = [start for start in [getattr(dag, "start_date", None)] if start is not None]
    starts = starts or [task.start_date for task in dag.tasks if getattr(task, "start_date", None) is not None]
    return {
        "id": id_text(dag.dag_id),
        "file": file,
        "schedule": _schedule(dag),
        "start": _moment(min(starts)) if starts else None,
        "catchup": bool(getattr(dag, "catchup", False)),
        "owners": sorted(owners),
        "tags": sorted(map(str, getattr(dag, "tags", None) or ())),
        "params": _params(dag),
        "dagrun_timeout": _seconds(getattr(dag, "dagrun_timeout", None)),
        "import_seconds": round(seconds, 3),
        "tasks": tasks,
    }


def _task_facts(task: Any) -> Json:
    partial: Any = getattr(task, "partial_kwargs", None)
    mapped = isinstance(partial, dict)
    email = (partial.get("email") if mapped else getattr(task, "email", None)) or ()
    name = str(getattr(task, "operator_name", "") or "")
    retries = getattr(task, "retries", None)
    return {
        "id": id_text(task.task_id),
        "operator": name if name.startswith("@") else str(getattr(task, "task_type", type(task).__name__)),
        "upstream": sorted(map(id_text, task.upstream_task_ids)),
        "owner": str(getattr(task, "owner", "") or ""),
        "email": [one.strip() for one in email.split(",")] if isinstance(email, str) else sorted(map(str, email)),
        "retries": retries if isinstance(retries, int) and retries >= 0 else None,
        "execution_timeout": _seconds(getattr(task, "execution_timeout", None)),
        "mapped": mapped,
    }


def _schedule(dag: Any) -> Optional[str]:
    timetable = getattr(dag, "timetable", None)
    waits_for = getattr(timetable, "asset_condition", None) or getattr(timetable, "dataset_condition", None)
    summary = getattr(timetable, "summary", None)
    if waits_for is not None and summary in (None, "Asset", "Dataset", "Partitioned Asset"):
        kind = "Asset" if hasattr(timetable, "asset_condition") else "Dataset"
        return "%s(%s)" % (kind, ", ".join(sorted(set(_assets(waits_for)))))
    given = getattr(dag, "schedule", None)
    if not isinstance(given, str) and not hasattr(given, "total_seconds"):
        given = getattr(dag, "schedule_interval", None)
    if isinstance(given, str) or hasattr(given, "total_seconds"):
        return str(given)
    return None if summary in (None, "None") else str(summary)


def _assets(condition: Any) -> Iterator[str]:
    """The names of what a schedule waits for."""
    inner = getattr(condition, "objects", None)
    if inner is None:
        yield str(getattr(condition, "uri", None) or getattr(condition, "name", None) or type(condition).__name__)
    for one in inner or ():
        yield from _assets(one)


def _moment(start: Any) -> Optional[str]:
    try:
        from datetime import timezone

        return str(start.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))
    except (AttributeError, ValueError, OverflowError):
        return None


def _seconds(delta: Any) -> Optional[float]:
    return float(delta.total_seconds()) if hasattr(delta, "total_seconds") and delta.total_seconds() >= 0 else None


def _params(dag: Any) -> Json:
    try:
        dumped = dag.params.dump()
    except Exception:  # noqa: BLE001 (defaults that are not valid are told as a problem of the DAG)
        dumped = {}
    return {str(name): _plain(value, DEEP) for name, value in dumped.items()}


def _plain(value: Any, levels: int) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)) and -(2**53) < value < 2**53:
        return value
    if levels and isinstance(value, dict):
        return {str(key): _plain(inner, levels - 1) for key, inner in value.items()}
    if levels and isinstance(value, (list, tuple)):
        return [_plain(inner, levels - 1) for inner in value]
    return _said(value)


def _said(value: object) -> str:
    try:
        return str(value)[:TEXT]
    except BaseException:  # noqa: BLE001 (an exception's text is code of the file as well)
        return "<%s without a text>" % type(value).__name__


def definition_of(dag: Any, folder: str) -> str:
    """All plain values of a DAG and its tasks as JSON, to compare two imports by; other values count by their type."""
    tasks = {id_text(task.task_id): _values(task) for task in dag.tasks}
    return as_text({"dag": _values(dag), "params": _params(dag), "tasks": tasks}, folder)


def has_odd_values(dag: Any) -> bool:
    """Whether a templated field of a task holds what only Airflow's serialization knows a form of."""
    return any(_odd(value, 4) for task in dag.tasks for _, value in _templated_fields(task))


def _odd(value: Any, levels: int) -> bool:
    if value is None or isinstance(value, (str, int, float)):
        return False
    if type(value) in (list, tuple, set):
        return bool(levels) and any(_odd(inner, levels - 1) for inner in value)
    if type(value) is dict:
        return bool(levels) and any(_odd(inner, levels - 1) for inner in value.values())
    return not type(value).__module__.startswith("airflow.")


def structure_of(dag: Any) -> Json:
    """The ids of a DAG's tasks, each with those right upstream."""
    return {id_text(task.task_id): sorted(map(id_text, task.upstream_task_ids)) for task in dag.tasks}


def as_text(value: object, folder: str) -> str:
    """JSON, as it would be if the tree were in another folder: two probes have it in two places."""
    try:
        text = json.dumps(value, sort_keys=True, skipkeys=True, default=_named)
    except (TypeError, ValueError, RecursionError):  # keys that cannot be sorted, containers that hold themselves
        text = json.dumps(_bounded(value, 7), sort_keys=True)
    if folder in text:
        text = text.replace(folder, "<dags>")
    return MODULE_NAME.sub("<module>", text) if "unusual_prefix_" in text else text


def _bounded(value: Any, levels: int) -> Any:
    """``value`` with texts for keys, and no deeper than so many levels."""
    if levels and isinstance(value, dict):
        return {str(key): _bounded(inner, levels - 1) for key, inner in value.items()}
    if levels and isinstance(value, (list, tuple)):
        return [_bounded(inner, levels - 1) for inner in value]
    return value if value is None or isinstance(value, (str, int, float)) else _named(value)


def _named(value: Any) -> Any:
    """What stands for a value that is not plain."""
    if isinstance(value, (set, frozenset)):
        return sorted(one if isinstance(one, str) else type(one).__name__ for one in value)
    if hasattr(value, "isoformat") or hasattr(value, "total_seconds"):
        return str(value)
    return type(value).__name__


def digest(text: str) -> str:
    """A digest of JSON."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


MODULE_NAME = re.compile(r"unusual_prefix_[0-9a-f]{40}")
"""Airflow derives the name of a DAG file's module from the file's path."""


VOLATILE = frozenset({"dag", "_dag", "task_dict", "fileloc", "relative_fileloc", "last_loaded", "_log"})


def _values(of: Any) -> Json:
    values = getattr(of, "__dict__", None)
    if values is None:
        values = {one.name: getattr(of, one.name, None) for one in getattr(type(of), "__attrs_attrs__", ())}
    return {name: value for name, value in values.items() if name not in VOLATILE}


# --- templates -------------------------------------------------------------------------------------------------------


class Templates:
    """Parses the templates of tasks, as Jinja will before a run."""

    def __init__(self) -> None:
        self._fine: Set[str] = set()
        self._plain_environment: Any = None

    def check(self, dag: Any) -> Iterator[Tuple[str, str]]:
        """(rule, message) for each template of the DAG that is missing or broken."""
        environment = None
        own = bool(getattr(dag, "user_defined_filters", None) or getattr(dag, "jinja_environment_kwargs", None))
        for task in dag.tasks:
            extensions = tuple(getattr(task, "template_ext", ()) or ())
            for field, value in _templated(task):
                names_file = bool(extensions) and value.endswith(extensions)
                if not names_file and "{{" not in value and "{%" not in value and "{#" not in value:
                    continue
                tags = value if names_file or own else tags_of(value)
                if not names_file and not own and tags in self._fine:
                    continue
                if environment is None:
                    environment = dag.get_template_env()
                problem = _parse(environment, value, names_file)
                if problem is not None:
                    yield problem[0], "task %r, %s: %s" % (id_text(task.task_id), field, problem[1])
                elif not names_file and not own:
                    self._fine.add(tags)


def tags_of(template: str) -> str:
    """What the syntax of a template depends on: all of it, or of one that has plain expressions only, just those."""
    expressions = PLAIN_EXPRESSION.findall(template)
    between = PLAIN_EXPRESSION.sub("", template)
    return template if "{" in between or "}" in between or "#" in between else "\0".join(expressions)


PLAIN_EXPRESSION = re.compile(r"\{\{[^{}'\"#%\\]*\}\}")


def _templated_fields(task: Any) -> Iterator[Tuple[str, Any]]:
    partial = getattr(task, "partial_kwargs", None)
    for field in getattr(task, "template_fields", ()) or ():
        yield str(field), partial.get(field) if isinstance(partial, dict) else getattr(task, field, None)


def _templated(task: Any) -> Iterator[Tuple[str, str]]:
    for field, value in _templated_fields(task):
        for text in _texts_in(value, 4):
            yield field, text


def _texts_in(value: Any, levels: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif levels and type(value) in (list, tuple, set):
        for inner in value:
            yield from _texts_in(inner, levels - 1)
    elif levels and type(value) is dict:
        for inner in value.values():
            yield from _texts_in(inner, levels - 1)


def _parse(environment: Any, value: str, names_file: bool) -> Optional[Tuple[str, str]]:
    from jinja2 import TemplateNotFound, TemplateSyntaxError, meta

    try:
        source = environment.loader.get_source(environment, value)[0] if names_file else value
        environment.compile(source, filename=value if names_file else None, raw=True)  # to Python, and no further
        if "{%" in source:
            for name in meta.find_referenced_templates(environment.parse(source)):
                if name is not None:
                    environment.loader.get_source(environment, name)
    except TemplateSyntaxError as error:
        where = "%s, line %s" % (value if names_file else repr(value[:60]), error.lineno)
        return "template-syntax", "%s (%s)" % (_said(error.message), where)
    except TemplateNotFound as error:
        return "template-missing", "there is no file %r beside the DAG or in template_searchpath" % str(error.name)
    except UnicodeDecodeError as error:
        return "template-syntax", "%r is not UTF-8 at byte %d" % (value, error.start)
    return None


# --- one file, in a child --------------------------------------------------------------------------------------------


class Examiner:
    """Imports files with Airflow and says what came of it. Lives in a child."""

    def __init__(self, airflow: Airflow, watch: Watch, settings: Json) -> None:
        self._airflow = airflow
        self._watch = watch
        self._settings = settings
        self._templates = Templates()
        self._failed: List[Tuple[Any, BaseException]] = []
        self._source = b""

    def examine(self, file: str, task: Json) -> Json:
        """The report on one file.

        ``task`` says whether Airflow passes it over, and what is wanted: ``full``, or for a second import the
        ``digests`` of its DAGs, or these with the ``whole`` definitions.
        """
        watch = self._watch
        self._failed = []
        self._source = Path(file).read_bytes()
        digests_only = task["mode"] == "digests"
        bag = self._airflow.bag(lambda dag: None if digests_only else self._check_templates(dag), self._refused)
        watch.begin(file)
        escaped: Optional[BaseException] = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = bag.process_file(file, only_if_updated=False, safe_mode=False)
        except BaseException as error:  # noqa: BLE001 (Airflow 2 lets SystemExit through, and so may a file)
            found, escaped = [], error
        seconds = watch.seconds
        # Airflow lists a DAG twice that is at the top level of a module and was used as a context manager in another.
        dags = sorted({id(dag): dag for dag in found or []}.values(), key=lambda dag: id_text(dag.dag_id))
        report: Json = {"path": watch.relative(file), "seconds": seconds, "dags": [], "digests": {}}
        report["skipped"] = bool(task["skipped"])
        raised = watch.error if watch.error is not None else escaped
        if raised is not None:
            self._say(raised, "import-error", 0)
        elif not self._failed:
            self._take_over(bag)
        for dag in dags:
            self._describe(dag, report, seconds, task)
        watch.active = False
        report["failed"] = raised is not None or bool(self._failed)
        if not digests_only:
            self._judge(file, report, failed=report["failed"])
        report["problems"] = watch.problems
        report["lookups"] = watch.lookups
        report["reads"] = sorted(watch.reads)
        report["searched"] = sorted(watch.searched)
        report["variables"] = sorted(watch.variables)
        return report

    def _take_over(self, bag: Any) -> None:
        """Say what only Airflow noticed, as a text: a DAG that it found not valid before it would take it."""
        for text in bag.import_errors.values():
            last = str(text).strip().splitlines()[-1]
            name = last.partition(":")[0].rpartition(".")[2]
            line = min((line for _, line in self._watch.created.values()), default=0)
            self._watch.problem(dict(RULE_OF).get(name, "invalid-dag"), last[:TEXT], line=line)
            self._failed.append((None, ValueError(last)))

    def _refused(self, dag: Any, error: BaseException) -> None:
        self._failed.append((dag, error))
        self._say(error, "invalid-dag", self._line(dag), "DAG %r: " % id_text(getattr(dag, "dag_id", "")))

    def _line(self, dag: Any) -> int:
        origin, line = self._watch.created.get(id_text(getattr(dag, "dag_id", "")), ("", 0))
        return line if origin == self._watch.file else 0

    def _check_templates(self, dag: Any) -> None:
        try:
            for rule, message in self._templates.check(dag):
                self._watch.problem(rule, "DAG %r, %s" % (id_text(dag.dag_id), message), line=self._line(dag))
        except Exception as error:  # noqa: BLE001 (an operator's own attributes may raise; that says nothing of templates)
            logging.debug("templates of %s: %s", self._watch.file, error)

    def _describe(self, dag: Any, report: Json, seconds: float, task: Json) -> None:
        watch = self._watch
        name = id_text(dag.dag_id)
        definition = definition_of(dag, watch.folder)
        if has_odd_values(dag):
            with contextlib.suppress(Exception):  # if it cannot be serialized, that is said below
                definition = '{"first": %s, "serialized": %s}' % (definition, self._serialized(dag))
        told = [digest(as_text(structure_of(dag), watch.folder)), digest(definition)]
        if name in report["digests"]:  # two DAGs of one id, in no particular order
            told = [digest("".join(sorted(pair))) for pair in zip(told, report["digests"][name])]  # noqa: B905 (3.9)
        report["digests"][name] = told
        if task["mode"] == "digests":
            return
        report["dags"].append(facts_of(dag, watch.relative(dag.fileloc or watch.file), seconds))
        if task["mode"] == "whole":
            report.setdefault("definitions", {})[name] = json.loads(definition)
            return
        try:
            json.dumps(self._airflow.serializer.to_dict(dag))
        except BaseException as error:  # noqa: BLE001 (whatever a file's objects raise)
            watch.problem("not-serializable", "DAG %r: %s" % (name, _text(error)), line=self._line(dag))

    def _serialized(self, dag: Any) -> str:
        serialized = dict(self._airflow.serializer.serialize_dag(dag))
        serialized.pop("_processor_dags_folder", None)
        return as_text(serialized, self._watch.folder)

    def _judge(self, file: str, report: Json, failed: bool) -> None:
        """What can be said once the import is over."""
        watch = self._watch
        found = {dag["id"] for dag in report["dags"]} | set(report["digests"])
        if report["skipped"]:
            words = [word for word in ("dag", "airflow") if word.encode() not in self._source.lower()]
            if found:
                shown = ", ".join(sorted(found)[:5])
                lacking = " and ".join(map(repr, words)) or "what this environment looks for"
                watch.problems = []
                watch.problem("safe-mode-skip", "the file defines %s, and does not contain %s" % (shown, lacking))
            return
        if watch.seconds > self._settings["import_budget"]:
            allowed = self._settings["import_budget"]
            watch.problem("slow-import", "the import took %.1f s, %g s are allowed" % (watch.seconds, allowed))
        if failed:
            return
        for name, (origin, line) in watch.created.items():
            if name not in found and not any(problem["rule"] == "not-serializable" for problem in watch.problems):
                watch.problem(
                    "dag-not-found", "DAG %r is made, and kept where Airflow does not look" % name, origin, line
                )
        if file.endswith(".py"):
            for rule, name, line in _never_called(self._source, bool(found or watch.created)):
                watch.problem(rule, "%s makes a DAG and is never called" % name, line=line)
        self._look_for_doubles(report)

    def _look_for_doubles(self, report: Json) -> None:
        ids = [dag["id"] for dag in report["dags"]]
        for name in sorted({one for one in ids if ids.count(one) > 1}):
            line = self._watch.created.get(name, ("", 0))[1]
            self._watch.problem("duplicate-dag-id", "the file has %d DAGs %r" % (ids.count(name), name), line=line)

    def _say(self, error: BaseException, rule: str, line: int, prefix: str = "") -> None:
        watch = self._watch
        rule = _rule_of(error, rule, watch.folder)
        place, where = self._place(error)
        hint = ""
        if isinstance(error, NoNetwork):
            hint = "the check refused it: lint.allow_network lets the network through"
        elif watch.lookups and rule == "import-error":
            last = watch.lookups[-1]
            table = "lint.variables" if last["kind"] == "variable" else "lint.connections"
            hint = "if the %s %r is missing here only, give it in %s" % (last["kind"], last["name"], table)
        if rule == "missing-package":
            package = str(getattr(error, "name", "") or "?")
            message = "%spackage %r is not installed (%s)" % (prefix, _distribution(package), _text(error))
        else:
            message = prefix + _text(error)
        watch.problem(rule, message + where, line=place or line, hint=hint)

    def _place(self, error: BaseException) -> Tuple[int, str]:
        """The line of the DAG file that the error came from, and the place in the tree behind it if that is another."""
        watch = self._watch
        own, inner = 0, ("", 0)
        for frame, line in traceback.walk_tb(error.__traceback__):
            name = frame.f_code.co_filename
            if watch.inside(name):
                inner = (name, line)
                own = line if name == watch.file else own
        if isinstance(error, SyntaxError) and error.filename and watch.inside(error.filename):
            inner = (error.filename, error.lineno or 0)
            own = inner[1] if error.filename == watch.file else own
        away = inner[0] and inner[0] != watch.file
        return own, " (in %s, line %d)" % (watch.relative(inner[0]), inner[1]) if away else ""


def _text(error: BaseException) -> str:
    return ("%s: %s" % (type(error).__name__, _said(error))).rstrip(": ")


RULE_OF = (
    ("AirflowTaskTimeout", "import-timeout"),
    ("MemoryError", "memory-limit"),
    ("SystemExit", "exit-at-import"),
    ("DuplicateTaskIdFound", "duplicate-task-id"),
    ("AirflowDagCycleException", "dag-cycle"),
    ("AirflowDagDuplicatedIdException", "duplicate-dag-id"),
    ("AirflowTimetableInvalid", "invalid-schedule"),
    ("CroniterError", "invalid-schedule"),
    ("AirflowClusterPolicyViolation", "cluster-policy"),
    ("AirflowClusterPolicyError", "cluster-policy"),
)
"""Rules by the name of an exception's class or of one of its bases: the classes move between Airflow's versions."""


def _rule_of(error: BaseException, otherwise: str, folder: str) -> str:
    bases = {base.__name__ for base in type(error).__mro__}
    for name, rule in RULE_OF:
        if name in bases:
            return rule
    if isinstance(error, ModuleNotFoundError) and error.name and not _is_ours(error.name, folder):
        return "missing-package"
    return "invalid-dag" if _refused_by_airflow(error) else otherwise


def _refused_by_airflow(error: BaseException) -> bool:
    """Whether Airflow's own code looked at what a DAG or a task was given, and said no."""
    name = type(error).__name__
    if not isinstance(error, ValueError) and not type(error).__module__.startswith("airflow"):
        return False
    said = _said(error)
    if "NotFound" in name or "_NOT_FOUND: " in said or "Invalid arguments were passed" in said:
        return False
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(modules) and str(modules[-1]).startswith("airflow.")


def _is_ours(module: str, folder: str) -> bool:
    """Whether the bundle or Airflow itself should have the module, so that a missing one is a fault of the code."""
    top = module.split(".")[0]
    if top == "airflow":
        return not module.startswith("airflow.providers.")
    return any(Path(folder, top + suffix).exists() for suffix in ("", ".py"))


def _distribution(module: str) -> str:
    parts = module.split(".")
    if parts[:2] == ["airflow", "providers"] and len(parts) > 2:
        return "apache-airflow-providers-" + parts[2]
    return parts[0]


def _never_called(source: bytes, has_dags: bool) -> Iterator[Tuple[str, str, int]]:
    """Functions at the top level that would make a DAG, and that nothing in the file mentions: rule, name, line."""
    if b"@dag" not in source and (has_dags or b"DAG(" not in source):
        return
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    for function in tree.body:
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) and function.name not in used:
            decorated = any(_name_of(one) == "dag" for one in function.decorator_list)
            inside = list(ast.walk(function))
            makes = not has_dags and any(isinstance(one, ast.Call) and _name_of(one) == "DAG" for one in inside)
            returns = any(isinstance(one, (ast.Return, ast.Yield)) and one.value is not None for one in inside)
            if decorated or makes:
                rule = "dag-not-found" if decorated or not returns else "uncalled-factory"
                yield rule, "%s()" % function.name, function.lineno


def _name_of(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def might_make_dags(source: bytes) -> bool:
    """Whether a file without the words that safe mode looks for may still make DAGs: it calls what it imported."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    standard: Any = getattr(sys, "stdlib_module_names", frozenset())
    imported: Set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [(alias.asname or alias.name.split(".")[0], alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(alias.asname or alias.name, node.module or ".") for alias in node.names]
        else:
            continue
        imported.update(name for name, module in names if module.split(".")[0] not in standard)
    return any(root in imported for statement in tree.body for root in _called_at_top(statement))


def _called_at_top(statement: ast.AST) -> Iterator[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
        return
    if isinstance(statement, ast.Call):
        node: ast.AST = statement.func
        while isinstance(node, (ast.Attribute, ast.Call)):
            node = node.value if isinstance(node, ast.Attribute) else node.func
        if isinstance(node, ast.Name):
            yield node.id
    for inner in ast.iter_child_nodes(statement):
        yield from _called_at_top(inner)


# --- children --------------------------------------------------------------------------------------------------------


class _Counted(io.TextIOBase):
    """Standard output of a child: counts, and keeps nothing."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.buffer = _CountedBytes(self)

    def write(self, text: str) -> int:
        self.count += len(text)
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1


class _CountedBytes(io.RawIOBase):
    def __init__(self, owner: _Counted) -> None:
        super().__init__()
        self._owner = owner

    def write(self, data: Any) -> int:
        self._owner.count += len(data)
        return len(data)

    def writable(self) -> bool:
        return True


def _variables() -> Dict[bytes, bytes]:
    """The environment as it is kept, which is compared a thousand times."""
    return os.environ._data  # type: ignore[attr-defined, no-any-return]


class Before:
    """What an import may leave behind, as it was before; what can be put back is."""

    def __init__(self) -> None:
        self.last_module = next(reversed(sys.modules))
        self.path, self.meta_path = list(sys.path), list(sys.meta_path)
        self.environment = dict(_variables())
        self.folder = os.getcwd()
        self.threads = threading.active_count()
        self.recursion = sys.getrecursionlimit()
        self.streams = (sys.stdout, sys.stderr)

    def _forget_modules(self, folder: str) -> None:
        """Drop the modules of the tree, which are the newest ones."""
        newest = list(itertools.takewhile(lambda name: name != self.last_module, reversed(sys.modules)))
        for name in newest:
            file = getattr(sys.modules.get(name), "__file__", None) or ""
            paths = [file, *map(str, getattr(sys.modules.get(name), "__path__", ()))]
            if any(path == folder or path.startswith(folder + os.sep) for path in paths):
                sys.modules.pop(name, None)

    def restore(self, folder: str) -> bool:
        """Put everything back; False if something cannot be."""
        self._forget_modules(folder)
        clean = (sys.stdout, sys.stderr) == self.streams and threading.active_count() <= self.threads
        sys.path[:], sys.meta_path[:] = self.path, self.meta_path
        if _variables() != self.environment:
            os.environ.clear()
            os.environ.update({os.fsdecode(name): os.fsdecode(value) for name, value in self.environment.items()})
        os.chdir(self.folder)
        sys.setrecursionlimit(self.recursion)
        sys.stdout, sys.stderr = self.streams
        try:
            os.waitpid(-1, os.WNOHANG)
            clean = False  # there is a child of its own
        except ChildProcessError:
            pass
        return clean


class Child:
    """A forked process that examines files, as the probe sees it."""

    living: Set[int] = set()  # noqa: RUF012 (of all children together)

    def __init__(self, probe: Probe, tasks: List[Json]) -> None:
        self.nonce = os.urandom(NONCE)
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.close(self._read)
                probe.become_child()
                _work(probe, tasks, write, self.nonce)
                code = 0
            finally:
                os._exit(code)
        self.living.add(self.pid)
        os.close(write)
        with contextlib.suppress(OSError):  # it did so itself, or has ended
            os.setpgid(self.pid, self.pid)
        self._buffer = b""
        self.tampered = self.late = False

    def message(self, deadline: float) -> Optional[Json]:
        """The next report; None if it ended, exceeded the deadline (monotonic), or wrote what is no report."""
        while True:
            found = self._frame()
            if found is not None or self.tampered:
                return found
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                self.late = True
                return None
            piece = os.read(self._read, 1024 * 1024)
            if not piece:
                self.tampered = bool(self._buffer)
                return None
            self._buffer += piece

    def _frame(self) -> Optional[Json]:
        start = NONCE + HEADER.size
        if not self.nonce.startswith(self._buffer[:NONCE]):
            self.tampered = True
            return None
        if len(self._buffer) < start:
            return None
        (size,) = HEADER.unpack(self._buffer[NONCE:start])
        if size > MAX_RESULT:
            self.tampered = True
            return None
        if len(self._buffer) < start + size:
            return None
        payload, self._buffer = self._buffer[start : start + size], self._buffer[start + size :]
        try:
            report = json.loads(payload)
        except ValueError:
            report = None
        self.tampered = not isinstance(report, dict)
        return report if isinstance(report, dict) else None

    def end(self) -> int:
        """Kill it with its whole group, and return its wait status."""
        for kill in (os.killpg, os.kill):
            try:
                kill(self.pid, signal.SIGKILL)
            except OSError:
                continue
        os.close(self._read)
        _, status = os.waitpid(self.pid, 0)
        self.living.discard(self.pid)
        _kill_orphans(self.living)
        return status


def _kill_orphans(living: Set[int]) -> None:
    """Kill what children left running: as a subreaper the probe inherits it. ``living`` are its own children."""
    while True:
        try:
            listed = Path("/proc/self/task/%d/children" % os.getpid()).read_text().split()
        except OSError:
            return
        orphans = {int(pid) for pid in listed} - living
        if not orphans:
            return
        for pid in orphans:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _work(probe: Probe, tasks: List[Json], channel: int, nonce: bytes) -> None:
    """The life of a child: examine each file, report, and stop where something was left behind."""
    watch = Watch(probe.folder, bool(probe.settings["allow_network"]), probe.last_words(os.getpid()))
    watch.watch_airflow(probe.airflow)
    watch.install()
    examiner = Examiner(probe.airflow, watch, probe.settings)
    output = _Counted()
    sys.stdout = sys.stderr = output
    for task in tasks:
        output.count = 0
        file = os.path.join(probe.folder, task["path"])
        if not probe.tree.holds(file):
            return  # an earlier file damaged it; the probe mends the tree and begins another child
        before = Before()
        report = examiner.examine(file, task)
        watch.active = False
        if (watch.acted or not probe.tree.holds(file)) and not probe.tree.is_whole():
            watch.problem("change-at-import", "after the import, files of the tree are changed or gone")
            watch.acted = True
        if output.count > LOUD and task["mode"] != "digests" and not task["skipped"]:
            watch.problem("output-at-import", "the import prints %d characters" % output.count)
        report["clean"] = before.restore(probe.folder) and not (watch.acted or watch.left_settings or report["failed"])
        payload = json.dumps(report, default=str).encode("utf-8", "replace")
        _write_all(channel, nonce + HEADER.pack(len(payload)) + payload)
        if not report["clean"]:
            return


def _write_all(channel: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(channel, view) :]


# --- the tree -------------------------------------------------------------------------------------------------------


class Tree:
    """This probe's own copy of the tree, and the bytes that it was made from, in a file that no path leads to.

    What a file damages through another program or through C can so be put right before the next file is imported.
    """

    def __init__(self, files: List[Tuple[str, int]], folder: str) -> None:
        self.folder = folder
        self._files = files
        self._bytes = tempfile.TemporaryFile()  # noqa: SIM115 (it stays open)
        left = sum(size for _, size in files)
        while left:
            piece = os.read(0, min(left, 1024 * 1024))
            if not piece:
                raise EOFError("the tree did not arrive whole")
            self._bytes.write(piece)
            left -= len(piece)
        self._unpack()

    def _unpack(self) -> None:
        self._bytes.seek(0)
        made: Set[str] = set()
        for path, size in self._files:
            target = os.path.join(self.folder, path)
            place = os.path.dirname(target)
            if place not in made:
                os.makedirs(place, exist_ok=True)
                made.add(place)
            with open(target, "xb") as file:
                while size:
                    size -= file.write(self._bytes.read(min(size, 1024 * 1024)))
        self._facts = dict(self._look())

    def _look(self) -> Iterator[Tuple[str, Tuple[int, int, int]]]:
        for place, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(place, name)
                yield path, self._fact(path)

    @staticmethod
    def _fact(path: str) -> Tuple[int, int, int]:
        status = os.lstat(path)
        return status.st_size, status.st_mtime_ns, status.st_ino

    def holds(self, path: str) -> bool:
        """Whether one file is as it was unpacked."""
        try:
            return self._facts[path] == self._fact(path)
        except (OSError, KeyError):
            return False

    def is_whole(self) -> bool:
        """Whether every file is as it was unpacked."""
        try:
            return dict(self._look()) == self._facts
        except OSError:
            return False

    def mend(self) -> None:
        """Make the tree what it was, if it is not."""
        if self.is_whole():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder, exist_ok=True)
        self._unpack()


# --- the probe -------------------------------------------------------------------------------------------------------

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""Options of prctl(2)."""


class Probe:
    """Has Airflow loaded, and forks children that examine files."""

    def __init__(self, settings: Json, folder: str, scratch: str) -> None:
        self.settings = settings
        self.folder = folder
        self.scratch = scratch
        self.pid = os.getpid()
        self.tree: Tree
        self.airflow: Airflow
        self._has_tables = False

    def load(self) -> None:
        """Import Airflow, and what it loads with a first DAG."""
        self._set(PR_SET_CHILD_SUBREAPER, 1)
        gc.disable()  # what is imported stays, and there is no use in looking at it again and again
        if self.folder not in sys.path:
            sys.path.append(self.folder)
        sys.dont_write_bytecode = True
        self.airflow = Airflow()
        logging.disable(logging.CRITICAL)
        try:
            self.airflow.warm_up(self.scratch)
        except Exception as error:  # noqa: BLE001 (each child would load the same, only later)
            sys.stderr.write("dagferry: Airflow did not take a plain DAG: %s\n" % _text(error))

    def take(self, tree: Tree) -> None:
        """Have the tree in the folder, which Python may have looked into before."""
        self.tree = tree
        importlib.invalidate_caches()

    def dag_files(self) -> List[Json]:
        """The DAG files, and those that are worth a look although Airflow passes them over; relative paths."""
        every, seen = self.airflow.list_files(self.folder)
        return [
            {"path": os.path.relpath(file, self.folder), "skipped": file not in seen}
            for file in sorted(every)
            if file in seen or (file.endswith(".py") and might_make_dags(Path(file).read_bytes()))
        ]

    def get_ready(self, files: Iterable[str]) -> None:
        """Load what the files will need of Airflow, and get ready to fork."""
        preload([os.path.join(self.folder, file) for file in files])
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        gc.enable()

    @staticmethod
    def _set(option: int, value: int) -> None:
        try:
            import ctypes

            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
        except (ImportError, OSError, AttributeError):
            pass

    def become_child(self) -> None:
        """In a fresh child: a group of its own, the probe's fate, nothing of the probe's channels, and limits."""
        os.setpgid(0, 0)
        self._set(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.pid:  # it was too late for that
            os._exit(1)
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.close(self.settings["channel"])
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        allowed = pages * resource.getpagesize() + self.settings["memory_mb"] * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if os.getuid() != 0:  # root has no such limit
            most = _threads_of(os.getuid()) + PROCESSES
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        os.chdir(self.scratch)

    def examine(self, tasks: List[Json]) -> Iterator[Json]:
        """A report for each of ``tasks``, in their order."""
        left = list(tasks)
        while left:
            self.tree.mend()
            child, fresh = Child(self, left), True
            while left:
                report = child.message(time.monotonic() + self.settings["import_timeout"] + LAST)
                if report is None:
                    status = child.end()
                    failed = left.pop(0)
                    yield self._no_answer(failed, child, status) if fresh else self._alone(failed)
                    break
                done = left.pop(0)
                clean = bool(report.pop("clean", False))
                no_database = self._lacks_database(report)
                doubtful = bool(report.pop("failed", False))
                if no_database or (doubtful and not fresh):
                    report = self._alone(done)
                yield report
                fresh = False
                if not clean:
                    child.end()
                    break
            else:
                child.end()

    def _lacks_database(self, report: Json) -> bool:
        """Whether the import failed for the want of Airflow's tables, which are there from now on.

        Airflow 2 asks its database by itself, for the pool of a SubDagOperator for instance. A database without rows
        does for that, but to make one takes a while, and hardly any file needs it.
        """
        if self._has_tables or not any("no such table" in problem["message"] for problem in report["problems"]):
            return False
        self._has_tables = True
        maker = os.fork()
        if maker == 0:
            code = 1
            try:
                make_tables()
                code = 0
            finally:
                os._exit(code)
        os.waitpid(maker, 0)
        return True

    def _alone(self, task: Json) -> Json:
        self.tree.mend()
        child = Child(self, [task])
        report = child.message(time.monotonic() + self.settings["import_timeout"] + LAST)
        status = child.end()
        if report is None:
            return self._no_answer(task, child, status)
        for ours in ("clean", "failed"):
            report.pop(ours, None)
        return report

    def _no_answer(self, task: Json, child: Child, status: int) -> Json:
        rule, message = "import-crash", "the import ended its process (exit code %d)" % os.WEXITSTATUS(status)
        if child.tampered:
            rule, message = "result-tampered", "the file writes to file descriptors that it has not opened"
        elif child.late:
            rule, message = "import-timeout", "the import does not end within %g s" % self.settings["import_timeout"]
        elif os.WIFSIGNALED(status):
            message = "the import ended its process by %s" % signal.Signals(os.WTERMSIG(status)).name
        return empty_report(task, rule, message, self._last_line(task, child.pid))

    def last_words(self, pid: int) -> str:
        """The file in which a child writes where it ends."""
        return os.path.join(self.scratch, "last-words-%d" % pid)

    def _last_line(self, task: Json, pid: int) -> int:
        """The line of the file at which its process ended, as far as it could say."""
        with contextlib.suppress(OSError):
            words = Path(self.last_words(pid)).read_text(errors="replace")
            file = re.escape(os.path.join(self.folder, task["path"]))
            found = re.findall(r'File "%s", line (\d+)' % file, words)
            return int(found[0]) if found else 0
        return 0


def _threads_of(user: int) -> int:
    """How many threads a user has, which is what the limit of processes counts."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == user:
                count += len(os.listdir(str(process / "task")))
    return count


def make_tables() -> None:
    """Make the tables of Airflow's database, without rows but for the default pool."""
    settings = importlib.import_module("airflow.settings")
    importlib.import_module("airflow.models").import_all_models()
    for table in importlib.import_module("airflow.models.base").Base.metadata.tables.values():
        with contextlib.suppress(Exception):  # one that refers to a table of a package that is not loaded
            table.create(settings.engine, checkfirst=True)
    importlib.import_module("airflow.utils.db").add_default_pool_if_not_exists()


def empty_report(task: Json, rule: str, message: str, line: int) -> Json:
    """The report on a file that gave none itself."""
    problem = {"rule": rule, "path": task["path"], "line": line, "message": message, "hint": ""}
    return {
        "path": task["path"], "seconds": 0.0, "problems": [] if task["skipped"] else [problem], "dags": [],
        "lookups": [], "reads": [task["path"]], "searched": [], "digests": {}, "skipped": task["skipped"],
    }  # fmt: skip


# --- talking to the builder ------------------------------------------------------------------------------------------


def environment() -> Json:
    """What the results of an import depend on besides the bundle, without importing Airflow."""
    installed = sorted(_installed())
    found = (re.fullmatch(r"apache_airflow-([^-]+)\.dist-info", name) for name in installed)
    airflow = next((match.group(1) for match in found if match), None)
    home = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser()
    watched = [home / "airflow.cfg", *sorted(home.glob("plugins/**/*.py")), *sorted(home.glob("config/**/*.py"))]
    for place in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        if place and len(watched) < 10_000:
            watched += sorted(Path(place).glob("**/*.py"))
    variables = sorted("%s=%s" % pair for pair in os.environ.items() if pair[0].startswith("AIRFLOW"))
    state = hashlib.sha256()
    for text in (sys.version, sys.prefix, *installed, *map(_file_state, watched), *variables):
        state.update(text.encode("utf-8", "surrogateescape") + b"\0")
    python = "%d.%d.%d" % sys.version_info[:3]
    told = {name: hashlib.sha256(os.fsencode(value)).hexdigest()[:16] for name, value in os.environ.items()}
    return {"airflow": airflow, "python": python, "state": state.hexdigest(), "variables": told}


def _installed() -> Iterator[str]:
    """The names of what is installed; they have the versions in them, and nothing has to be opened."""
    for place in sys.path:
        with contextlib.suppress(OSError):
            for name in os.listdir(place or "."):
                if name.endswith((".dist-info", ".egg-info", ".egg-link", ".pth")):
                    yield name


def _file_state(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "%s absent" % path
    return "%s %d %d" % (path, status.st_size, status.st_mtime_ns)


def prepare(request: Json, scratch: str, folder: str) -> None:
    """The environment that Airflow is imported in: production's settings, and no production service."""
    variables = os.environ
    if not variables.get("AIRFLOW_HOME") and not Path("~/airflow").expanduser().is_dir():
        variables["AIRFLOW_HOME"] = os.path.join(scratch, "home")
    database = os.path.join(scratch, "airflow.db")
    variables.update(
        {
            "DAGFERRY_PROBE_DATABASE": database,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:///" + database,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_ENABLED": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": folder,
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": str(request["settings"]["import_timeout"]),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
            "AIRFLOW__METRICS__STATSD_ON": "False",
            "AIRFLOW__METRICS__OTEL_ON": "False",
            "AIRFLOW__TRACES__OTEL_ON": "False",
            "AIRFLOW__OPENLINEAGE__DISABLED": "True",
            "AIRFLOW__SECRETS__BACKEND": "",
        }
    )
    variables.update({"AIRFLOW_VAR_" + name.upper(): value for name, value in request["variables"].items()})
    variables.update({"AIRFLOW_CONN_" + name.upper(): value for name, value in request["connections"].items()})


def end_on_sigterm(scratch: str) -> None:
    """Have SIGTERM end the probe together with its children, and with what it has on disk."""
    probe = os.getpid()

    def leave(*_: object) -> NoReturn:
        if os.getpid() == probe:
            for pid in Child.living:
                with contextlib.suppress(OSError):
                    os.killpg(pid, signal.SIGKILL)
            _kill_orphans(set())
            shutil.rmtree(scratch, ignore_errors=True)
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, leave)


def serve(take: Callable[[], bytes], channel: int) -> None:
    """Answer the builder until it says no more.

    First, if it wants to know: ``environment``. Then ``load`` (settings), ``tree`` (with the bytes of its files after
    it), and any number of ``tasks``: lines of file tasks in, lines of reports out.
    """

    def say(answer: Json) -> None:
        _write_all(channel, json.dumps(answer).encode("utf-8", "replace") + b"\n")

    line = take()
    if line and json.loads(line)["mode"] == "environment":
        say(environment())
        line = take()
    if not line:
        return
    request = json.loads(line)
    with tempfile.TemporaryDirectory(prefix="dagferry-probe-") as scratch:
        scratch = os.path.realpath(scratch)
        end_on_sigterm(scratch)
        folder = os.path.join(scratch, "dags")
        os.mkdir(folder)  # Python does not look again for a folder that was not there
        prepare(request, scratch, folder)
        probe = Probe({**request["settings"], "channel": channel}, folder, scratch)
        try:
            probe.load()
            line = take()
            if not line:
                return
            request = json.loads(line)
            probe.take(Tree(request["files"], folder))
            say({"ready": {"files": probe.dag_files() if request["list"] else []}})
        except BaseException as error:  # noqa: BLE001 (an Airflow that cannot be imported is the answer)
            say({"broken": _text(error)})
            return
        probe.get_ready(request["preload"])
        for line in iter(take, b""):
            for report in probe.examine(json.loads(line)["tasks"]):
                say({"report": report})


def take_line() -> bytes:
    """The next line on stdin, read byte by byte: what follows it may be meant for somebody else."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return b""
        line += byte
    return line


def main() -> NoReturn:
    """Keep stdout for the builder, and send everything else that is printed to stderr."""
    channel = os.dup(1)
    os.dup2(2, 1)
    serve(take_line, channel)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
