from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.sdk import Param
except ImportError:
    from airflow.models.param import Param
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

DEFAULT_ARGS = {
    "owner": "growth",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "experiment_summary",
    schedule="@daily",
    start_date=datetime(2025, 1, 5),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["growth"],
    params={"confidence": Param(0.95, type="number", maximum=1)},
):
    BashOperator(task_id="summary", bash_command="experiments summary {{ params.confidence }}")
