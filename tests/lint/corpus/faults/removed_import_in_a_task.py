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
        from airflow.utils.dates import days_ago

        return days_ago(days).isoformat()

    border(90)


purge_old_rows()
