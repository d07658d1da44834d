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

FOLDER = Path(__file__).parent / "layouts"
DEFAULT_ARGS = {
    "owner": "ingest",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "price_import",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["ingest"],
):
    for layout in sorted(FOLDER.glob("*.json")):
        BashOperator(task_id=f"read_{layout.name.split('.')[0]}", bash_command=f"prices read {layout.name}")
