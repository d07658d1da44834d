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

STEPS = ["extract", "check", "load"]
DEFAULT_ARGS = {
    "owner": "ingest",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "generated_steps",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["ingest"],
    doc_md=json.dumps(STEPS),
):
    for step in STEPS:
        BashOperator(task_id=step, bash_command=f"ingest {step} --root {Path(__file__).anchor}")
