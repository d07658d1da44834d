from datetime import datetime, timedelta

from airflow import DAG
from airflow.operators.bash import BashOperator

DEFAULT_ARGS = {
    "owner": "vision",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "image_training",
    schedule="@weekly",
    start_date=datetime(2025, 1, 5),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["vision"],
):
    BashOperator(
        task_id="train",
        bash_command="vision train",
        executor="GpuQueueExecutor",
    )
