from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

DEFAULT_ARGS = {
    "owner": "analytics",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "margin_mart",
    schedule="0 5 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["analytics"],
):
    SQLExecuteQueryOperator(task_id="margins", conn_id="mart", sql="sql/margins.sql")
