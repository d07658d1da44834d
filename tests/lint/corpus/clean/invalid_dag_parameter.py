from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.sdk import Param
except ImportError:
    from airflow.models.param import Param
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

DEFAULT_ARGS = {
    "owner": "growth",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "cohort_export",
    schedule="@weekly",
    start_date=datetime(2025, 1, 5),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["growth"],
    params={"weeks": Param(4, type="integer", minimum=1)},
):
    BashOperator(task_id="export", bash_command="cohorts export --weeks {{ params.weeks }}")
