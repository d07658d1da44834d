from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

DEFAULT_ARGS = {
    "owner": "lake",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "lake_to_snowflake",
    schedule="30 2 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["lake"],
):
    SQLExecuteQueryOperator(
        task_id="copy",
        conn_id="lake",
        sql="COPY INTO events FROM @lake_stage FILE_FORMAT = (TYPE = PARQUET)",
    )
