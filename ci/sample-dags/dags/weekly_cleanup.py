# mypy: ignore-errors
"""Every Sunday: one task per folder removes what is older than a month."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

FOLDERS = ("exports", "reports", "uploads")
OLD = timedelta(days=31)


@dag(
    dag_id="weekly_cleanup",
    schedule="0 3 * * 0",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    default_args={"owner": "platform"},
    tags=["shop", "housekeeping"],
)
def weekly_cleanup() -> None:
    """Fan out over the folders."""

    @task
    def folders() -> list[str]:
        return list(FOLDERS)

    @task(max_active_tis_per_dag=2)
    def clean(folder: str) -> None:
        print(f"would remove what is older than {OLD.days} days from {folder}")

    clean.expand(folder=folders())


weekly_cleanup()
