"""All rules, from the sources that define them."""

from __future__ import annotations

from typing import Final

from . import airflow_rules, live, policy

RULES: Final = {
    rule.id: rule
    for rules in (
        airflow_rules.RULES,
        policy.RULES,
        live.RULES,
    )
    for rule in rules
}
"""By id, in the order of the sources."""
