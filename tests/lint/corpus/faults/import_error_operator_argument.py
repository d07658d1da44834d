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
    "owner": "logistics",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "parcel_tracking",
    schedule="*/15 * * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["parcels"],
):
    fetch = BashOperator(task_id="fetch", bash_command="tracking fetch")
    store = BashOperator(
        task_id="store",
        bash_command="tracking store",
        retry_delays=timedelta(minutes=5),
    )
    fetch >> store
