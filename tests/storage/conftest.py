from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# The contract's asserts are outside test modules; without this a failing one would not say what it saw.
pytest.register_assert_rewrite("tests.storage.contract")

from tests.storage.racers import Crew  # noqa: E402  after the registration

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def crew() -> Iterator[Crew]:
    """Twenty processes for the races."""
    crew = Crew()
    yield crew
    crew.dismiss()
