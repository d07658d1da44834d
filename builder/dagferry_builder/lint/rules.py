"""All rules, from the sources that define them."""

from __future__ import annotations

from typing import Final

from . import airflow_rules, files, python_rules, secrets

_ALL: Final = (
    *files.RULES,
    *secrets.RULES,
    *python_rules.RULES,
    *airflow_rules.RULES,
)
RULES: Final = {rule.id: rule for rule in _ALL}
"""By id, in the order of the sources."""
