# mypy: ignore-errors
"""Every morning: what was sold yesterday."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

from shop import orders


@dag(
    dag_id="daily_sales",
    schedule="0 6 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    default_args={"owner": "sales", "retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["shop", "sales"],
)
def daily_sales() -> None:
    """Read the query, add up, report."""

    @task
    def read_query() -> str:
        return orders.query("daily_sales")

    @task
    def add_up(query: str) -> int:
        print(f"would run {len(query)} characters of SQL")
        return orders.total()

    @task
    def report(cents: int) -> None:
        print(f"sold for {cents / 100:.2f}")

    report(add_up(read_query()))


daily_sales()
