from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:
    from airflow.operators.python import PythonOperator

DEFAULT_ARGS = {
    "owner": "ingest",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


class Window:
    def __init__(self, days):
        self.days = days

    def __repr__(self):
        return f"Window({self.days})"

    __str__ = __repr__


def load(window):
    print(window.days)


with DAG(
    "window_load",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["ingest"],
):
    PythonOperator(task_id="load", python_callable=load, op_kwargs={"window": Window(7)})
