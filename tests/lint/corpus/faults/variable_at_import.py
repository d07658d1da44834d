from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, Variable
except ImportError:
    from airflow import DAG
    from airflow.models import Variable
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

SENDER = Variable.get("mail_sender")
DEFAULT_ARGS = {
    "owner": "reporting",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "mail_reports",
    schedule="0 6 * * 1",
    start_date=datetime(2025, 1, 6),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["reporting"],
):
    BashOperator(task_id="send", bash_command=f"reports mail --from {SENDER}")
