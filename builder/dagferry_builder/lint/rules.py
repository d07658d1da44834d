"""All rules, from the sources that define them."""

from __future__ import annotations

from typing import Final

from . import airflow_rules, baseline, suppressions

RULES: Final = {
    rule.id: rule
    for rule in (
        *airflow_rules.RULES,
        *suppressions.RULES,
        *baseline.RULES,
    )
}
"""By id, in the order of the sources."""
