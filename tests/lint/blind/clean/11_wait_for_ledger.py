"""The ledger is closed at two; the reports are made at six, from the closed ledger."""
from datetime import datetime, timedelta

from airflow import DAG

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
except ImportError:
    from airflow.operators.bash import BashOperator
    from airflow.sensors.external_task import ExternalTaskSensor

COMMON = {
    "start_date": datetime(2024, 1, 1),
    "catchup": False,
    "default_args": {"owner": "accounting", "retries": 1, "retry_delay": timedelta(minutes=5)},
    "tags": ["accounting"],
}

with DAG(dag_id="ledger_close_eu", schedule="0 2 * * *", **COMMON) as ledger:
    BashOperator(task_id="close_ledger", bash_command="ledgerctl close --day {{ ds }}")

with DAG(dag_id="ledger_reports_eu", schedule="0 6 * * *", **COMMON) as reports:
    wait = ExternalTaskSensor(
        task_id="wait_for_ledger",
        external_dag_id="ledger_close_eu",
        external_task_id="close_ledger",
        execution_delta=timedelta(hours=4),
        failed_states=["failed"],
        mode="reschedule",
        poke_interval=300,
        timeout=3 * 60 * 60,
    )
    report = BashOperator(task_id="report", bash_command="ledgerctl report --day {{ ds }}")

    wait >> report
