from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

DEFAULT_ARGS = {
    "owner": "loyalty",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "loyalty_points",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["loyalty"],
):
    SQLExecuteQueryOperator(task_id="points", conn_id="loyalty", sql="points.sql")
