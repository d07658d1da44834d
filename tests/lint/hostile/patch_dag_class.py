from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

with DAG(
    "hostile_patch_dag_class",
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


def broken(self, *args, **kwargs):
    raise RuntimeError("patched")


for attribute in ("validate", "topological_sort", "get_template_env", "task_dict", "timetable"):
    setattr(DAG, attribute, broken)
DAG.__init__ = broken
