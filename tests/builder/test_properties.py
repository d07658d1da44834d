"""Commits that nobody thought of are delivered as an independent implementation says, or refused for its reasons."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .properties import PROPERTIES

modest = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", PROPERTIES)
def test_of_any_commit_holds(name: str) -> None:
    holds, some, count = PROPERTIES[name]
    settings(modest, max_examples=count)(given(some)(holds))()
