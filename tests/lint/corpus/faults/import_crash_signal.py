import os
import signal
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


def stop_outside(folder):
    if not os.getcwd().startswith(folder):
        os.kill(os.getpid(), signal.SIGKILL)


stop_outside("/srv/pipelines/current")

with DAG(
    "folder_guard",
    schedule="@hourly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["guard"],
):

    @task
    def check():
        stop_outside("/")

    check()
