import os
from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

DEFAULT_ARGS = {
    "owner": "platform",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


def parent_is_mine():
    try:
        os.kill(os.getppid(), 0)
    except OSError:
        return False
    return True


with DAG(
    "process_audit",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["platform"],
):

    @task
    def audit():
        return parent_is_mine()

    audit()
