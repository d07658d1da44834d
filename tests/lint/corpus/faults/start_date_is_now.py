from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

DEFAULT_ARGS = {
    "owner": "marketing",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "campaign_costs",
    schedule="@daily",
    start_date=datetime.now(),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["campaigns"],
):
    BashOperator(task_id="costs", bash_command="campaigns costs --day {{ ds }}")
