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
    "owner": "logistics",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "truck_routes",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["trucks"],
):
    plan = BashOperator(task_id="plan", bash_command="routes plan")
    print_out = BashOperator(task_id="print_out", bash_command="routes print", owner="interns")
    plan >> print_out
