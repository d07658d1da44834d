import uuid
from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

WORK = f"/tmp/export-{uuid.uuid4()}"
DEFAULT_ARGS = {
    "owner": "exports",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "customer_export",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["exports"],
):
    make = BashOperator(task_id="make", bash_command=f"export customers --to {WORK}")
    send = BashOperator(task_id="send", bash_command=f"export send {WORK}")
    make >> send
