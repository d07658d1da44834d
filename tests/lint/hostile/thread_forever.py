import threading
import time
from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

with DAG(
    "hostile_thread_forever",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args={"owner": "platform", "retries": 2, "execution_timeout": timedelta(minutes=30)},
    tags=["platform"],
):

    @task
    def work():
        return "done"

    work()

threading.Thread(target=time.sleep, args=(10**6,), daemon=False).start()
