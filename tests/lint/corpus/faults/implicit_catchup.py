from datetime import datetime, timedelta

from airflow import DAG
from airflow.operators.bash import BashOperator

DEFAULT_ARGS = {
    "owner": "retail",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "till_receipts",
    schedule="@daily",
    start_date=datetime(2023, 1, 1),
    default_args=DEFAULT_ARGS,
    tags=["retail"],
):
    BashOperator(task_id="receipts", bash_command="tills receipts --day {{ ds }}")
