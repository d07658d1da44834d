import sys
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
    "owner": "backups",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "backup_check",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["backups"],
) as dag:
    BashOperator(task_id="check", bash_command="backup check --day {{ ds }}")


def main():
    print(f"{dag.dag_id} has {len(dag.tasks)} tasks")
    return 0


sys.exit(main())
