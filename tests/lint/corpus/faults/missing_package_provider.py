from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
from airflow.providers.snowflake.transfers.copy_into_snowflake import CopyFromExternalStageToSnowflakeOperator

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
    CopyFromExternalStageToSnowflakeOperator(
        task_id="copy",
        table="EVENTS",
        stage="LAKE_STAGE",
        file_format="(TYPE = PARQUET)",
    )
