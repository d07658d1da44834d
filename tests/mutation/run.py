"""Mutation testing: ``python -m tests.mutation.run trust`` or ``activation``; the package is cosmic-ray.

In a copy of the sources one small change at a time is made in the modules that decide (which bytes are believed, in
which order a release becomes live), and the tests that are about them are run. A change that no test notices has to be
in ``survivors.toml`` with the reason why it makes no difference, and whatever is there has to survive still.

Unions in annotations are not looked at: nothing evaluates them.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHECKOUT: Final = Path(__file__).parents[2]
COMPONENTS: Final = ("schemas", "storage", "builder", "agent")
EXPLAINED: Final = Path(__file__).with_name("survivors.toml")
PLUGINS: Final = ("-p", "no:cacheprovider", "-p", "tests.mutation.without_chance")
ALIKE: Final = {"PYTHONHASHSEED": "0", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Sets in one order, and no plugin that happens to be installed: every run tries the same."""
TIMEOUT: Final = 120.0
"""Seconds for the tests with one change; longer than that counts as noticed: a loop that never ends is no success."""

MEMORY: Final = "/dev/shm"
"""Where flushes take no time, so that a busy disk does not let tests time out."""


@dataclass(frozen=True)
class Target:
    """Modules in which changes are made, and the tests that have to notice them.

    ``excluded``: changes that are not made, as patterns of cosmic-ray's names of them. ``timeout`` in seconds.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    timeout: float = TIMEOUT


TARGETS: Final = {
    "trust": Target(
        tuple(f"schemas/dagferry_schemas/{name}.py" for name in ("trust", "keyring", "signatures")),
        tuple(
            f"tests/schemas/test_{name}.py"
            for name in ("trust", "signed_records", "keyring", "statement", "signatures", "vectors", "format")
        ),
    ),
    "activation": Target(
        ("agent/dagferry_agent/activation.py", "agent/dagferry_agent/root.py"),
        (
            "tests/agent/test_root.py",
            "tests/agent/test_activation.py",
            "tests/agent/test_by_hand.py",
            "tests/agent/test_renewing.py",
            "tests/agent/test_delivery.py",
            "--deselect=tests/agent/test_delivery.py::test_readers_never_miss_the_folder",  # long, and up to chance
        ),
        excluded=("core/ReplaceBinaryOperator_Div_(?!Mul).*",),  # all slashes join paths: one other operator is enough
        timeout=40,
    ),
}


@dataclass(frozen=True, order=True)
class Mutant:
    """One change that no test has noticed: the lines before and after it."""

    module: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.module}\n  - {self.before}\n  + {self.after}"


def configuration(target: Target) -> str:
    """What cosmic-ray is told."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", *PLUGINS, "-m", "not planted", *target.tests]
    return "\n".join(
        [
            "[cosmic-ray]",
            f"module-path = {json.dumps(list(target.modules))}",
            f"timeout = {target.timeout}",
            "excluded-modules = []",
            f"test-command = {json.dumps(shlex.join(command))}",
            "[cosmic-ray.distributor]",
            'name = "local"',
            "[cosmic-ray.filters.operators-filter]",
            f"exclude-operators = {json.dumps(['core/ReplaceBinaryOperator_BitOr_.*', *target.excluded])}",
            "",
        ]
    )


def survivors(target: Target, folder: Path) -> tuple[int, list[Mutant]]:
    """How many changes were tried, and those that survived. ``folder`` is a copy of the sources."""
    (folder / "mutation.toml").write_text(configuration(target))
    roots = os.pathsep.join(str(folder / one) for one in (*COMPONENTS, ""))
    environment = {**os.environ, "PYTHONPATH": roots, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder.parent)}
    tools = Path(sys.executable).parent
    environment |= ALIKE

    def call(tool: str, *arguments: str) -> str:
        done = subprocess.run(
            [tools / tool, *arguments], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout

    call("cosmic-ray", "baseline", "mutation.toml")
    call("cosmic-ray", "init", "mutation.toml", "session.sqlite")
    call("cr-filter-operators", "session.sqlite", "mutation.toml")
    call("cosmic-ray", "exec", "mutation.toml", "session.sqlite")
    found, tried = [], 0
    for line in call("cosmic-ray", "dump", "session.sqlite").splitlines():
        item, result = json.loads(line)
        if result["worker_outcome"] == "skipped":
            continue
        tried += 1
        if result["test_outcome"] == "survived":
            found.append(_mutant(item["mutations"][0]["module_path"], result["diff"]))
    return tried, sorted(set(found))


def _mutant(module: str, diff: str) -> Mutant:
    lines = diff.splitlines()
    before = " ".join(line[1:].strip() for line in lines if line.startswith("-") and not line.startswith("---"))
    after = " ".join(line[1:].strip() for line in lines if line.startswith("+") and not line.startswith("+++"))
    return Mutant(module, before, after)


def explained(name: str) -> set[Mutant]:
    """The changes of that target that are known to make no difference."""
    document = tomllib.loads(EXPLAINED.read_text())
    return {Mutant(one["module"], one["before"], one["after"]) for one in document.get(name, ())}


def main() -> int:
    """Try one target. 1 if a change survived that is not explained, or one that is explained did not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    name = parser.parse_args().target
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="dagferry-mutation-", dir=memory) as scratch:
        folder = Path(scratch) / "checkout"
        shutil.copytree(CHECKOUT, folder, ignore=shutil.ignore_patterns("__pycache__", ".git", ".venv*"))
        tried, found = survivors(TARGETS[name], folder)
    known = explained(name)
    new, gone = sorted(set(found) - known), sorted(known - set(found))
    sys.stdout.write(f"{name}: {tried} changes, {len(found)} survived, {len(found) - len(new)} explained\n")
    for title, some in (("survived, and is not explained", new), ("explained, and did not survive", gone)):
        sys.stdout.writelines(f"{title}: {one}\n" for one in some)
    return 1 if new or gone else 0


if __name__ == "__main__":
    sys.exit(main())
