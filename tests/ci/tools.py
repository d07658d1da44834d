"""The programs of ``ci/manifest-tools-env``, whose folder the environment names, and what they say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

import yaml

from tests.ci.manifests import TOP, Document

TOOLS: Final = "DAGFERRY_MANIFEST_TOOLS"
KUBERNETES_VERSIONS: Final = ["1.29", "1.37"]
KNOWN_OTHERWISE: Final = {"PodMonitor", "PrometheusRule"}
"""Kinds that Prometheus' operator brings along: its own models judge them."""


def tool(name: str) -> str:
    folder = os.environ.get(TOOLS, "")
    program = Path(folder, "bin", name)
    assert folder, f'{TOOLS} is not set; export {TOOLS}="$(ci/manifest-tools-env)"'
    assert program.is_file(), f"there is no {program}; {TOOLS} has to be the folder that ci/manifest-tools-env prints"
    return str(program)


def said(*command: str | Path, cwd: Path | None = None, content: str | None = None) -> tuple[int, str]:
    """How a program ended, and all that it said."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, input=content, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, env={**os.environ, "HOME": str(cwd or TOP)},
    )  # fmt: skip
    return done.returncode, done.stdout


def content_with(*command: str | Path, cwd: Path | None = None, content: str | None = None) -> str:
    code, output = said(*command, cwd=cwd, content=content)
    assert code == 0, output
    return output


def judged(found: list[Document], folder: Path, version: str) -> tuple[int, str]:
    """What Kubernetes' own schemas say, of unknown fields as well."""
    file = folder / "judged.yaml"
    file.write_text(yaml.safe_dump_all(one for one in found if one["kind"] not in KNOWN_OTHERWISE))
    return said(tool("kubernetes-validate"), "--kubernetes-version", version, "--strict", file)
