"""Loads the orders of the day into the warehouse with the loader of the platform team."""
from datetime import datetime, timedelta

from airflow import DAG

try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

with DAG(
    dag_id="orders_nightly_load_eu",
    schedule="15 1 * * *",
    start_date=datetime(2024, 3, 1),
    catchup=False,
    max_active_runs=1,
    default_args={
        "owner": "warehouse",
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(hours=1),
    },
    tags=["orders", "warehouse"],
) as dag:
    load = BashOperator(
        task_id="load_orders",
        bash_command="$LOADER_HOME/load_orders.sh --table orders --day {{ ds }}",
        env={"LOADER_HOME": "/opt/warehouse/bin", "PGAPPNAME": "orders_nightly_load_eu"},
        append_env=True,
    )

    analyze = BashOperator(
        task_id="analyze_orders",
        bash_command='psql "$WAREHOUSE_DSN" -c "ANALYZE orders"',
    )

    load >> analyze
