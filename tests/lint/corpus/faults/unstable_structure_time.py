import time
from datetime import datetime, timedelta

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

DEFAULT_ARGS = {
    "owner": "ingest",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


@dag(
    schedule="@hourly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["ingest"],
)
def batch_ingest():
    @task(task_id=f"batch_{time.time_ns()}")
    def batch():
        return "done"

    batch()


batch_ingest()
