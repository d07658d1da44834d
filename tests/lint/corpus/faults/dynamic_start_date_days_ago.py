from datetime import timedelta

from airflow import DAG
from airflow.operators.bash import BashOperator
from airflow.utils.dates import days_ago

DEFAULT_ARGS = {
    "owner": "marketing",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "referral_links",
    schedule="@daily",
    start_date=days_ago(2),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["referrals"],
):
    BashOperator(task_id="check", bash_command="referrals check")
