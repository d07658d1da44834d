"""The images' Dockerfiles: what hadolint says, and their steps in an empty folder in the place of an image's root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.ci.manifests import DOCKERFILES, TOP
from tests.ci.tools import content_with, said, tool

pytestmark = pytest.mark.manifests


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    assert content_with(tool("hadolint"), dockerfile) == ""


PARSE = """
import json, sys
from dockerfile_parse import DockerfileParser
print(json.dumps(DockerfileParser(fileobj=open(sys.argv[1], "rb")).structure))
"""


def steps_of(dockerfile: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with their values, in order; a step that goes over lines is one."""
    found = json.loads(content_with(tool("python"), "-c", PARSE, dockerfile))
    return [(one["instruction"], one["value"]) for one in found]


# What needs a root of its own, and is not run: it installs git with apt, in the last stage.
NOT_RUN = {"builder.Dockerfile": ["apt-get update"], "agent.Dockerfile": []}


@pytest.mark.parametrize(("name", "backend"), [("agent", "s3"), ("agent", "none"), ("builder", "gcs")])
def test_the_images_steps_make_a_program_that_starts(name: str, backend: str, tmp_path: Path) -> None:
    dockerfile = TOP / f"ci/docker/{name}.Dockerfile"
    left_out = []
    for instruction, value in steps_of(dockerfile):
        if instruction == "COPY" and not value.startswith("--"):
            *sources, target = value.split()
            for source in sources:
                _copy(TOP / source, tmp_path / target.strip("/"), whole=len(sources) == 1)
        elif instruction == "RUN" and "apt-get" in value:
            left_out.append(value[: len("apt-get update")])
        elif instruction == "RUN":
            _run_step(value, tmp_path, backend)
    assert left_out == NOT_RUN[dockerfile.name]
    (entry,) = (json.loads(value) for instruction, value in steps_of(dockerfile) if instruction == "ENTRYPOINT")
    program = tmp_path / "opt/venv/bin" / entry[0]
    assert "0.1.0" in content_with(program, "--version")
    assert not (tmp_path / "opt/venv/bin/pip").exists()
    store = {"s3": "s3://bucket/prefix", "gcs": "gs://bucket/prefix", "none": str(tmp_path / "store")}[backend]
    modules = {"s3": "boto3", "gcs": "google.cloud.storage", "none": "zstandard"}[backend]
    content_with(tmp_path / "opt/venv/bin/python", "-I", "-c", f"import {modules}; print({store!r})")
    others = {"boto3", "google.cloud.storage"} - {modules}
    for other in others:
        assert said(tmp_path / "opt/venv/bin/python", "-I", "-c", f"import {other}")[0] == 1


def test_an_unknown_backend_ends_the_build_with_a_word(tmp_path: Path) -> None:
    (step,) = (value for instruction, value in steps_of(TOP / "ci/docker/agent.Dockerfile") if instruction == "RUN")
    code, output = _step(step, tmp_path, "azure")
    assert code == 2
    assert "BACKEND is 'azure', and has to be s3, gcs or none" in output


def _copy(source: Path, target: Path, *, whole: bool) -> None:
    """As COPY does: a folder's content into the target, files into the folder."""
    if whole and source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _step(value: str, root: Path, backend: str) -> tuple[int, str]:
    """One RUN, with the paths of the image below ``root``, by a Python that is this machine's."""
    for place in ("/source", "/opt/venv"):
        value = value.replace(place, f"{root}{place}")
    clean = {"PATH": f"{Path(tool('python')).parent}:{os.defpath}", "HOME": str(root), "BACKEND": backend}
    passed = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_", "HTTP", "http"))}
    done = subprocess.run(
        ["sh", "-c", value], env={**passed, **clean}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, cwd=root,
    )  # fmt: skip
    return done.returncode, done.stdout


def _run_step(value: str, root: Path, backend: str) -> None:
    code, output = _step(value, root, backend)
    assert code == 0, output
