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
    "owner": "warehouse",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "stock_levels",
    schedule="@hourly",
    start_date=datetime(2025, 2, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["stock"],
):
    count = BashOperator(task_id="count", bash_command="stock count")
    publish = BashOperator(task_id="publish", bash_command="stock publish")
    count >> publish)
