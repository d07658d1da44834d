from datetime import datetime, timedelta
from pathlib import Path

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

READY = Path("/var/spool/nightly/export.ready")

DEFAULT_ARGS = {
    "owner": "exports",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "after_export",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["exports"],
):

    @task.sensor(poke_interval=60, timeout=3600, mode="reschedule")
    def wait():
        return READY.exists()

    @task
    def load():
        return READY.read_text()

    wait() >> load()
