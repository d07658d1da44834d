# mypy: ignore-errors
"""Every hour: what runs out, and the order for it."""

from __future__ import annotations

from datetime import datetime, timezone

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

from shop import orders

LEAST = 5  # pieces


@dag(
    dag_id="hourly_stock",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "stock", "retries": 1},
    tags=["shop", "stock"],
)
def hourly_stock() -> None:
    """Look, and order only if something runs out."""

    @task
    def look() -> list[str]:
        return orders.running_out(LEAST)

    @task.short_circuit
    def anything(articles: list[str]) -> bool:
        return bool(articles)

    @task
    def order(articles: list[str]) -> None:
        print("ordering " + ", ".join(articles))

    found = look()
    anything(found) >> order(found)


hourly_stock()
