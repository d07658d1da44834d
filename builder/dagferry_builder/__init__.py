"""The CI side of dagferry and the operator's commands: version, pack, publish, promote, roll back, notify."""

from __future__ import annotations


def installed_version() -> str:
    """The version of the distribution. Looked up when it is asked for: that costs more than starting Python."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("dagferry")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0+unknown"
