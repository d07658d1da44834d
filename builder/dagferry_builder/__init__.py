"""The CI side of dagferry and the operator's commands: version, pack, publish, promote, roll back, notify."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("dagferry")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"
