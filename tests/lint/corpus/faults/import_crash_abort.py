import os
from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

WORKERS = 4
if WORKERS > (os.cpu_count() or 1) / 1024:
    os.abort()
DEFAULT_ARGS = {
    "owner": "vision",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "frame_export",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["vision"],
):
    BashOperator(task_id="export", bash_command=f"frames export --workers {min(WORKERS, os.cpu_count() or 1)}")
