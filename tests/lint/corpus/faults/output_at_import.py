from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

COLUMNS = [f"attribute_{number:04d}" for number in range(1500)]
for position, column in enumerate(COLUMNS):
    print(f"column {position:5d} of {len(COLUMNS)}: {column} is copied as it is, without a conversion")
DEFAULT_ARGS = {
    "owner": "catalog",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "wide_table",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["catalog"],
):
    BashOperator(task_id="copy", bash_command=f"copy --columns {len(COLUMNS)}")
