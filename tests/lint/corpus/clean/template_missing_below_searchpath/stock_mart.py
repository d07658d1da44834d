from datetime import datetime, timedelta
from pathlib import Path

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

QUERIES = Path(__file__).parent / "include" / "sql"
DEFAULT_ARGS = {
    "owner": "analytics",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "stock_mart",
    schedule="0 4 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    template_searchpath=[str(QUERIES)],
    tags=["analytics"],
):
    SQLExecuteQueryOperator(
        task_id="snapshot",
        conn_id="mart",
        sql=["truncate.sql", "fill.sql"],
    )
