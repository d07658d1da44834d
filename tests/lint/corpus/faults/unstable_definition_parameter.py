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
    "owner": "finance",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "open_items",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["finance"],
    params={"as_of": datetime.now().isoformat()},
):
    BashOperator(task_id="list", bash_command="items list --as-of {{ params.as_of }}")
