import os
from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

FREE = "1048576"
DEFAULT_ARGS = {
    "owner": "ops",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "disk_space",
    schedule="*/10 * * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["ops"],
):
    BashOperator(task_id="compare", bash_command=f"test {len(FREE)} -gt 4 && df -Pk {os.sep}")
