import json
from datetime import datetime, timedelta
from http.client import HTTPConnection

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

DEFAULT_ARGS = {
    "owner": "frontend",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


def flags():
    connection = HTTPConnection("127.0.0.1", 9, timeout=2)
    connection.request("GET", "/flags")
    return json.load(connection.getresponse())


FLAGS = flags()

with DAG(
    "feature_usage",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["frontend"],
):

    @task
    def count():
        return len(FLAGS)

    count()
