from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

DEFAULT_ARGS = {
    "owner": "retail",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "gift_cards",
    schedule="@daily",
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["cards"],
):
    BashOperator(task_id="balance", bash_command="cards balance")
