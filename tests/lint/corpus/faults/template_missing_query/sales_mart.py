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
    "sales_mart",
    schedule="0 4 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["analytics"],
):
    stage = SQLExecuteQueryOperator(task_id="stage", conn_id="mart", sql="sql/stage_sales.sql")
    merge = SQLExecuteQueryOperator(task_id="merge", conn_id="mart", sql="sql/merge.sql")
    stage >> merge
