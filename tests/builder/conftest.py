from __future__ import annotations

import pytest

# The asserts of these are outside test modules; without this a failing one would not say what it saw.
pytest.register_assert_rewrite("tests.builder.checks", "tests.builder.properties", "tests.e2e.harness")
