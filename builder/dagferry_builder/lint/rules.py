"""All rules, from the sources that define them."""

from __future__ import annotations

from typing import Final

from . import airflow_rules, baseline, files, live, policy, python_rules, secrets, suppressions

RULES: Final = {
    rule.id: rule
    for rules in (
        files.RULES,
        secrets.RULES,
        python_rules.RULES,
        airflow_rules.RULES,
        policy.RULES,
        live.RULES,
        suppressions.RULES,
        baseline.RULES,
    )
    for rule in rules
}
"""By id, in the order of the sources."""
