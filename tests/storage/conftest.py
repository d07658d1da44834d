from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.storage.racers import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def crew() -> Iterator[Crew]:
    """Twenty processes for the races."""
    crew = Crew()
    yield crew
    crew.dismiss()
