from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

TABLES = ["sales.orders", "sales.customers", "archive.orders"]
DEFAULT_ARGS = {
    "owner": "warehouse",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "table_statistics",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["warehouse"],
):
    for table in TABLES:
        name = table.split(".")[1]
        BashOperator(task_id=f"analyze_{name}", bash_command=f"analyze {table}")
