import ctypes
from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

DEFAULT_ARGS = {
    "owner": "vision",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


def native_length(address):
    return len(ctypes.string_at(address))


LENGTH = native_length(0)

with DAG(
    "frame_index",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["vision"],
):

    @task
    def index():
        return LENGTH

    index()
