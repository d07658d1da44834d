from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

# These asserts are outside test modules; without this a failing one would not say what it saw.
pytest.register_assert_rewrite("tests.e2e.harness", "tests.endpoint.rows", "tests.endpoint.world")

from tests.endpoint.world import Source, make_source  # noqa: E402  after the registration

if TYPE_CHECKING:
    from pathlib import Path

# Its client is in the environment of `ci/test fuzz` only, which fails if it finds no test.
collect_ignore = [] if find_spec("schemathesis") else ["test_fuzz.py"]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """One store for all agents. Tests that change it take turns with it, and put it back."""
    folder: Path = tmp_path_factory.mktemp("endpoint")
    return make_source(folder)
