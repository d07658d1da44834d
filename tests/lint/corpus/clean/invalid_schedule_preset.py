from datetime import datetime, timedelta

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

DEFAULT_ARGS = {
    "owner": "hr",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


@dag(
    schedule="0 0 * * 1-5",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["hr"],
)
def absence_sync():
    @task
    def sync():
        return "synced"

    sync()


absence_sync()
