from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

DEFAULT_ARGS = {
    "owner": "telemetry",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "sensor_rollup",
    schedule="@hourly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["telemetry"],
) as dag:
    BashOperator(task_id="rollup", bash_command="rollup --hour {{ ts }}")
