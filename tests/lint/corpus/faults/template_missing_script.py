from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

DEFAULT_ARGS = {
    "owner": "ops",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "log_rotation",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["ops"],
):
    BashOperator(task_id="rotate", bash_command="/opt/ops/rotate.sh")
