"""Charges the subscriptions which are due, once a day after three o'clock in the morning."""
from datetime import timedelta

import pendulum

from airflow import DAG

try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

with DAG(
    dag_id="subscription_billing",
    description="Daily charge of the due subscriptions",
    schedule="* 3 * * *",
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={
        "owner": "billing",
        "retries": 1,
        "retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(hours=2),
    },
    tags=["billing", "daily"],
) as dag:
    due = BashOperator(task_id="collect_due", bash_command="billctl due --day {{ ds }}")
    charge = BashOperator(task_id="charge", bash_command="billctl charge --day {{ ds }}")
    mail = BashOperator(task_id="mail_receipts", bash_command="billctl receipts --day {{ ds }}")

    due >> charge >> mail
