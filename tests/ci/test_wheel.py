"""What is tested is what gets installed: all packages from one place, and each file of the checkout among them."""

from __future__ import annotations

import importlib
import os
import sysconfig
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PACKAGES = {f"dagferry_{name}": TOP / name / f"dagferry_{name}" for name in ("schemas", "storage", "builder", "agent")}
INSTALLED = "DAGFERRY_TEST_INSTALLED" in os.environ


def place(package: str) -> Path:
    file = importlib.import_module(package).__file__
    assert file is not None
    return Path(file).parent


def files(folder: Path) -> set[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if not any(part.startswith((".", "__pycache__")) for part in path.parts)}


@pytest.mark.parametrize("package", PACKAGES)
def test_package_comes_from_where_it_should(package: str) -> None:
    folder = Path(sysconfig.get_path("purelib")) / package if INSTALLED else PACKAGES[package]
    assert place(package) == folder or not INSTALLED


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_was_forgotten(package: str) -> None:
    assert files(place(package)) == files(PACKAGES[package])
