from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

BATCH = 500
DEFAULT_ARGS = {
    "owner": "crm",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "contact_sync",
    schedule="*/30 * * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["crm"],
):

    @task
    def push(contacts):
        size = BATCH
        part = contacts[:size]
        while part:
            print(f"pushing {len(part)}")
            size = 250
            part = contacts[size:]
            contacts = part

    push(["a", "b"])
