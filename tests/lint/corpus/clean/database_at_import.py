from datetime import datetime, timedelta

from airflow import DAG
from airflow.operators.bash import BashOperator

DEFAULT_ARGS = {
    "owner": "platform",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


POOLS = ["default_pool", "exports"]


with DAG(
    "pool_usage",
    schedule="@hourly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["platform"],
):
    for pool in POOLS:
        BashOperator(task_id=f"measure_{pool}", bash_command=f"pools measure {pool}")
