from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, BaseHook
except ImportError:
    from airflow import DAG
    from airflow.hooks.base import BaseHook
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

HOST = BaseHook.get_connection("mart").host
DEFAULT_ARGS = {
    "owner": "analytics",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "mart_size",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["analytics"],
):
    BashOperator(task_id="measure", bash_command=f"mart size --host {HOST}")
