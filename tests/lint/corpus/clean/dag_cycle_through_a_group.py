from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.sdk import TaskGroup
except ImportError:
    from airflow.utils.task_group import TaskGroup
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

DEFAULT_ARGS = {
    "owner": "finance",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "month_end",
    schedule="0 5 1 * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["finance"],
):
    report = BashOperator(task_id="report", bash_command="close report")
    with TaskGroup("bookings") as bookings:
        accruals = BashOperator(task_id="accruals", bash_command="close accruals")
        postings = BashOperator(task_id="postings", bash_command="close postings")
        accruals >> postings
    bookings >> report
