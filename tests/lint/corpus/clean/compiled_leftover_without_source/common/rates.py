"""Rates of the tariff."""

RATES = {"basic": 7, "plus": 12}
