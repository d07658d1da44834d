import logging
import json
from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

log = logging.getLogger(__name__)


def tell_on_call(context):
    event = {"task": context["task_instance"].task_id, "run": context["run_id"]}
    log.error("pager %s", json.dumps(event))


DEFAULT_ARGS = {
    "owner": "platform",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "nightly_exports",
    schedule="15 1 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args={**DEFAULT_ARGS, "on_failure_callback": tell_on_call},
    tags=["exports"],
):
    BashOperator(task_id="export", bash_command="exports run --day {{ ds }}")
