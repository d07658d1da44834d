from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

with DAG(
    "hostile_patch_serialization",
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

import airflow.serialization.serialized_objects as serialized


def forged(*args, **kwargs):
    return {"forged": True}


for name in ("SerializedDAG", "DagSerialization"):
    if hasattr(serialized, name):
        getattr(serialized, name).to_dict = staticmethod(forged)
