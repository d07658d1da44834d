from datetime import datetime, timedelta

from airflow.sdk import dag, task

DEFAULT_ARGS = {
    "owner": "retention",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


@dag(
    schedule="@weekly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["retention"],
)
def purge_old_rows():
    @task
    def border(days):
        from datetime import timezone

        return (datetime.now(timezone.utc) - timedelta(days=days)).isoformat()

    border(90)


purge_old_rows()
