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
    "warehouse_vacuum",
    schedule="0 1 * * 0",
    start_date=datetime(2025, 1, 5),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["warehouse"],
):
    orders = BashOperator(task_id="vacuum_orders", bash_command="vacuum orders")
    events = BashOperator(
        task_id="vacuum_orders",
        bash_command="vacuum events",
    )
    orders >> events
