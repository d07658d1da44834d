"""One task for each table in tables.json."""

import json
from datetime import datetime, timedelta
from pathlib import Path

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

TABLES = json.loads((Path(__file__).parent / "tables.json").read_text())
DEFAULT_ARGS = {
    "owner": "warehouse",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "table_copies",
    schedule="0 3 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["copies"],
):
    for table in TABLES:
        BashOperator(task_id=f"copy_{table}", bash_command=f"copy {table}")
