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
    "owner": "orders",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "order_pipeline",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["orders"],
):
    extract = BashOperator(task_id="extract", bash_command="orders extract")
    clean = BashOperator(task_id="clean", bash_command="orders clean")
    load = BashOperator(task_id="load", bash_command="orders load")
    extract >> clean >> load
    load >> clean
