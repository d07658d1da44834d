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
    "owner": "retail",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "refund_totals",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["returns"],
):
    collect = BashOperator(task_id="collect_refunds", bash_command="refunds collect")
    add = BashOperator(task_id="Add-Up", bash_command="refunds add")
    collect >> add
