from __future__ import annotations

from pathlib import Path

import pytest

# The contract's asserts are outside test modules; without this a failing one would not say what it saw.
pytest.register_assert_rewrite("tests.storage.contract")

from tests.storage.store_table import Recorder  # noqa: E402  after the registration


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store-table", type=Path, metavar="FILE", help="write what passed on which store to FILE, as Markdown"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Recorder(config.getoption("store_table")))
