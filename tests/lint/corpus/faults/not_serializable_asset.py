from datetime import datetime, timedelta
from decimal import Decimal

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.sdk import Asset
except ImportError:
    from airflow.datasets import Dataset as Asset
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

RATES = Asset("s3://finance/rates.parquet", extra={"tolerance": Decimal("0.01")})
DEFAULT_ARGS = {
    "owner": "finance",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "exchange_rates",
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["finance"],
):
    BashOperator(task_id="fetch", bash_command="rates fetch --day {{ ds }}", outlets=[RATES])
