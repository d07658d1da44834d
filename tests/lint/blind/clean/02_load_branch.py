"""Full reload of the customer dimension on Mondays, incremental load on the other days."""
from datetime import datetime, timedelta

from airflow import DAG

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.python import BranchPythonOperator
    from airflow.sdk import TaskGroup
except ImportError:
    from airflow.operators.bash import BashOperator
    from airflow.operators.python import BranchPythonOperator
    from airflow.utils.task_group import TaskGroup


def pick_load(data_interval_end):
    if data_interval_end.isoweekday() == 1:
        return "load.full"
    return "load.incremental"


with DAG(
    dag_id="dim_customer_eu",
    schedule="0 4 * * *",
    start_date=datetime(2024, 1, 1),
    catchup=False,
    default_args={"owner": "crm", "retries": 1, "retry_delay": timedelta(minutes=10)},
    tags=["crm", "dimensions"],
) as dag:
    pick = BranchPythonOperator(task_id="pick_load", python_callable=pick_load)

    with TaskGroup(group_id="load") as load:
        full = BashOperator(task_id="full", bash_command="dimctl load customer --full")
        incremental = BashOperator(task_id="incremental", bash_command="dimctl load customer --since {{ ds }}")

    check = BashOperator(
        task_id="check_counts",
        bash_command="dimctl check customer",
        trigger_rule="none_failed_min_one_success",
    )

    pick >> [full, incremental] >> check
