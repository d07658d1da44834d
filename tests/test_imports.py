"""Imports run one way, and outside libraries stay where they belong. Read from the source: nothing is imported here.

1. ``schemas <- storage <- builder`` and ``schemas <- storage <- agent``; builder and agent never import each other.
2. schemas knows no disk, network, process or clock, but for ``commandline``, the end of both programs' commands; no
   other module of schemas imports that one.
3. A cloud's library is imported by that cloud's store only (``s3`` and its parts, ``s3_...``), and such a store only
   where its URL is opened, never when a module outside it is loaded: the libraries are large, and optional.
4. click is imported by command lines only (``cli``, ``cli_...``, ``options``, ``commandline``), the HTTP server by the
   agent's ``app``, ``gate``, ``replies`` and ``server`` only, Prometheus' library by ``metrics`` only, watchdog by
   ``watching`` and the builder's ``local_loop`` only; structlog by ``logs`` only, and not when that is loaded.
5. Airflow is imported by lint's ``probe`` and by the agent's ``airflow_...`` only, and nothing that these import,
   however late, needs a server or a command line: they run inside Airflow's processes.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP: Final = Path(__file__).resolve().parents[1]
MAY_IMPORT: Final = {
    "dagferry_schemas": {"dagferry_schemas"},
    "dagferry_storage": {"dagferry_schemas", "dagferry_storage"},
    "dagferry_builder": {"dagferry_schemas", "dagferry_storage", "dagferry_builder"},
    "dagferry_agent": {"dagferry_schemas", "dagferry_storage", "dagferry_agent"},
}
NOT_IN_SCHEMAS: Final = {
    "asyncio", "fcntl", "http", "os", "pathlib", "requests", "shutil", "socket", "ssl", "subprocess", "tempfile",
    "threading", "time", "urllib",
}  # fmt: skip
CLOUDS: Final = {
    "boto3": "dagferry_storage.s3",
    "botocore": "dagferry_storage.s3",
    "obstore": "dagferry_storage.s3",
    "google": "dagferry_storage.gcs",
}
"""Each library, and the store that imports it."""
COMMANDLINE: Final = "dagferry_schemas.commandline"
PROBE: Final = "dagferry_builder.lint.probe"
COMMAND_LINES: Final = {"cli", "commandline", "options"}
SERVING: Final = {
    "hypercorn": {"app", "server"},
    "prometheus_client": {"metrics"},
    "starlette": {"app", "gate", "replies", "server"},
    "structlog": {"logs"},
    "watchdog": {"watching"},
}
"""What only a serving agent needs, and the modules that may import it."""

LOCAL_LOOP = {"watchdog": "dagferry_builder.local_loop"}
"""What the builder's local loop needs of that."""


class Import:
    """One imported module by its absolute name, and whether it is imported when the importing module is loaded."""

    def __init__(self, name: str, line: int, *, at_load: bool) -> None:
        self.name = name
        self.line = line
        self.at_load = at_load


def imports(source: str, module: str, *, is_package: bool = False) -> Iterator[Import]:
    """Every import in ``source``, which is that of ``module``; also those that only type checkers see."""
    package = module if is_package else module.rpartition(".")[0]
    yield from _below(ast.parse(source), package, at_load=True)


def _below(node: ast.AST, package: str, *, at_load: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        for name in _imported(child, package):
            yield Import(name, getattr(child, "lineno", 0), at_load=at_load)
        if isinstance(child, ast.If) and ast.unparse(child.test).rpartition(".")[2] == "TYPE_CHECKING":
            for branch, loaded in ((child.body, False), (child.orelse, at_load)):
                yield from _below(ast.Module(branch, []), package, at_load=loaded)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _below(child, package, at_load=at_load and not inside)


def _imported(node: ast.AST, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*parents, *([node.module] if node.module else [])])
        # `from a import b` may import the module a.b: both names are judged.
        return [base, *(f"{base}.{alias.name}" for alias in node.names)]
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__"):
        return [one.value for one in node.args[:1] if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return []


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What ``module`` imports against the rules, as ``<module>:<line>: <reason>``."""
    found = []
    for one in imports(source, module, is_package=is_package):
        reason = _reason(module, one)
        if reason:
            found.append(f"{module}:{one.line}: {reason}")
    return sorted(set(found))


def _reason(module: str, one: Import) -> str | None:
    package, *parts = module.split(".")
    top = one.name.partition(".")[0]
    if top in MAY_IMPORT and top not in MAY_IMPORT[package]:
        return f"{package} must not import {top}"
    if package == "dagferry_schemas" and module != COMMANDLINE:
        if top in NOT_IN_SCHEMAS:
            return f"schemas must not import {top}"
        if one.name == COMMANDLINE:
            return "the rules must not import the command line"
    if top in CLOUDS and _cloud_store(module) != CLOUDS[top]:
        return f"{top} is imported outside its store"
    if one.at_load and _cloud_store(one.name) not in (None, _cloud_store(module)):
        return f"{'.'.join(one.name.split('.')[:2])} is imported when the module is loaded"
    if top == "click" and not any(part in COMMAND_LINES or part.startswith("cli_") for part in parts):
        return "click is imported outside a command line"
    if (
        top in SERVING
        and module != LOCAL_LOOP.get(top)
        and (package != "dagferry_agent" or not SERVING[top] & set(parts))
    ):
        return f"{top} is imported outside the agent's server"
    if top == "airflow" and module != PROBE and not module.startswith("dagferry_agent.airflow_"):
        return "airflow is imported outside its bundle and lint's probe"
    if top == "structlog" and one.at_load:
        return "structlog is imported when the module is loaded"
    return None


def _cloud_store(name: str) -> str | None:
    """The cloud's store that the module of that name is, or is a part of; None if it is none."""
    package, _, rest = name.partition(".")
    store = f"{package}.{rest.partition('.')[0].partition('_')[0]}"
    return store if store in CLOUDS.values() else None


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """The modules of one of the four packages: their names and files."""
    folder = TOP / package.removeprefix("dagferry_") / package
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package: str) -> None:
    found = [
        violation
        for module, path in modules(package)
        for violation in violations(path.read_text(encoding="utf-8"), module, is_package=path.stem == "__init__")
    ]
    assert found == []


def reached_from(module: str) -> set[str]:
    """Every module that ``module`` imports, directly or not, at any time, and for type checkers too."""
    sources = {name: path for package in MAY_IMPORT for name, path in modules(package)}
    found: set[str] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        if name in sources:
            path = sources[name]
            source = path.read_text(encoding="utf-8")
            pending += [one.name for one in imports(source, name, is_package=path.stem == "__init__")]
    return found


def test_the_bundle_needs_no_server_and_no_command_line() -> None:
    found = {name.partition(".")[0] for name in reached_from("dagferry_agent.airflow_bundle")}
    assert {"airflow", "dagferry_storage", "zstandard"} <= found, "this looks at nothing"
    assert not found & {"click", *SERVING}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_every_package_is_looked_at(package: str) -> None:
    assert package in dict(modules(package)), "the package moved, and this test looks at nothing"


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("dagferry_schemas.x", "import dagferry_storage.store", "must not import dagferry_storage"),
        ("dagferry_storage.x", "from dagferry_builder import git", "must not import dagferry_builder"),
        ("dagferry_storage.x", "def f():\n    import dagferry_agent", "must not import dagferry_agent"),
        ("dagferry_builder.x", "from dagferry_agent.app import make", "must not import dagferry_agent"),
        ("dagferry_agent.x", "import os, dagferry_builder", "must not import dagferry_builder"),
        ("dagferry_agent.a.b", "from ...dagferry_builder import git", "must not import dagferry_builder"),
        ("dagferry_agent.x", "__import__('dagferry_builder.git')", "must not import dagferry_builder"),
        ("dagferry_schemas.x", "import os", "schemas must not import os"),
        (
            "dagferry_agent.delivery",
            "def f():\n    import airflow.models",
            "airflow is imported outside its bundle and lint's probe",
        ),
        ("dagferry_builder.airflow_x", "import airflow", "airflow is imported outside its bundle and lint's probe"),
        ("dagferry_schemas.x", "import os.path as p", "schemas must not import os"),
        ("dagferry_schemas.x", "def f():\n    from time import time", "schemas must not import time"),
        (
            "dagferry_schemas.x",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pathlib import Path",
            "schemas must not import pathlib",
        ),
        (
            "dagferry_schemas.x",
            "try:\n    import socket\nexcept ImportError:\n    pass",
            "schemas must not import socket",
        ),
        ("dagferry_schemas.x", "from . import commandline", "must not import the command line"),
        ("dagferry_builder.x", "def f():\n    import boto3", "boto3 is imported outside its store"),
        ("dagferry_agent.x", "def f():\n    from google.cloud import storage", "google is imported outside its store"),
        ("dagferry_storage.local", "def f():\n    import boto3", "boto3 is imported outside its store"),
        ("dagferry_storage.stores", "import botocore.config", "botocore is imported outside its store"),
        ("dagferry_storage.gcs", "import boto3", "boto3 is imported outside its store"),
        ("dagferry_storage.gcs_refusals", "def f():\n    import botocore", "botocore is imported outside its store"),
        ("dagferry_storage.bucket", "from google.api_core import exceptions", "google is imported outside its store"),
        ("dagferry_storage.stores", "from .s3 import S3Store", "dagferry_storage.s3 is imported when the module is"),
        ("dagferry_builder.site", "from dagferry_storage.gcs import GcsStore", "is imported when the module is loaded"),
        ("dagferry_storage.stores", "if True:\n    from . import s3", "is imported when the module is loaded"),
        ("dagferry_storage.bucket", "from .s3_refusals import Refusals", "storage.s3_refusals is imported when"),
        ("dagferry_storage.gcs", "from .s3_connection import Connection", "is imported when the module is loaded"),
        (
            "dagferry_storage.stores",
            "import importlib\nb = importlib.import_module('dagferry_storage.s3')",
            "is imported when the module is loaded",
        ),
        ("dagferry_builder.publish", "import click", "click is imported outside a command line"),
        ("dagferry_agent.pull", "import starlette.routing", "starlette is imported outside the agent's server"),
        ("dagferry_builder.app", "import starlette", "starlette is imported outside the agent's server"),
        ("dagferry_agent.cli", "from hypercorn.asyncio import serve", "hypercorn is imported outside"),
        ("dagferry_agent.app", "from prometheus_client import Counter", "prometheus_client is imported outside"),
        ("dagferry_agent.service", "def f():\n    import structlog", "structlog is imported outside"),
        ("dagferry_agent.logs", "import structlog.stdlib", "structlog is imported when the module is loaded"),
    ],
)
def test_planted_import_is_found(module: str, source: str, reason: str) -> None:
    found = violations(source, module)
    assert len(found) == 1, found
    assert reason in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("dagferry_schemas.trust", "from . import names\nfrom .tree import Tree\nimport hashlib, json"),
        ("dagferry_storage.s3", "def connect():\n    import boto3\n    from botocore.config import Config"),
        ("dagferry_storage.s3", "if TYPE_CHECKING:\n    from botocore.client import BaseClient"),
        ("dagferry_storage.s3", "connect = lambda: __import__('boto3')"),
        ("dagferry_storage.s3", "from .s3_refusals import Refusals"),
        ("dagferry_storage.s3_refusals", "import botocore.exceptions\nfrom . import bucket"),
        ("dagferry_storage.gcs_connection", "import google.auth\nfrom . import bucket"),
        ("dagferry_storage.local", "import os\nfrom dagferry_schemas import layout"),
        ("dagferry_builder.cli", "import click\nfrom dagferry_storage.stores import open_store"),
        ("dagferry_builder.commandline.output", "import click"),
        ("dagferry_builder.cli_build", "import click"),
        ("dagferry_schemas.commandline", "import os, signal\nfrom .errors import Usage"),
        ("dagferry_agent.server", "from hypercorn.asyncio import serve"),
        ("dagferry_agent.app", "from starlette.applications import Starlette"),
        ("dagferry_agent.metrics", "from prometheus_client import Counter"),
        ("dagferry_agent.logs", "def f():\n    import structlog"),
    ],
)
def test_allowed_import_is_let_pass(module: str, source: str) -> None:
    assert violations(source, module) == []


def test_relative_import_of_a_package_itself_is_resolved() -> None:
    names = [one.name for one in imports("from . import a\nfrom .b import c", "pkg.sub", is_package=True)]
    assert names == ["pkg.sub", "pkg.sub.a", "pkg.sub.b", "pkg.sub.b.c"]
    names = [one.name for one in imports("from .. import a", "pkg.sub.mod")]
    assert names == ["pkg", "pkg.a"]
