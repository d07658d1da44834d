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

REGION = os.environ["REPORTING_REGION_CODE"]
DEFAULT_ARGS = {
    "owner": "reporting",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    f"regional_report_{REGION}",
    schedule="0 7 * * 1-5",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["reporting", REGION],
):
    BashOperator(task_id="report", bash_command=f"report --region {REGION}")
