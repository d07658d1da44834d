from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

DEFAULT_ARGS = {
    "owner": "platform",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "priority_lanes",
    schedule="@hourly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["platform"],
):
    BashOperator(
        task_id="drain",
        bash_command="lanes drain",
        priority_weight=5,
        weight_rule="absolute",
    )
