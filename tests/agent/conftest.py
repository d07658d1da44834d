from __future__ import annotations

import pytest

# The asserts of the harness are outside test modules; without this a failing one would not say what it saw.
pytest.register_assert_rewrite("tests.e2e.harness")
