"""Lint: what would break production is found before a version is published.

Several sources of findings look at one tree: ``files``, ``python`` (ruff), ``airflow`` (a real one imports every DAG
file), ``policy``, and ``live`` (what the channel serves now). Each is a module that takes a `Checkout` and `Settings`
and returns findings; `engine` asks them all, and `settings` says how bad each finding is.
"""
