from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

REGIONS = {"north", "south", "east", "west", "centre", "coast", "islands", "highlands", "delta"}
DEFAULT_ARGS = {
    "owner": "retail",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "regional_stock",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["retail"],
):
    before = None
    for region in REGIONS:
        after = BashOperator(task_id=f"stock_{region}", bash_command=f"stock {region}")
        if before is not None:
            before >> after
        before = after
