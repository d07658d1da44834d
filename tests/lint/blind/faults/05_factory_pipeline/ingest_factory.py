from datetime import datetime, timedelta

from airflow import DAG

try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator


def build_pipeline(name, tables, schedule, owner):
    """The ingestion pipeline every source has: extract, load and check for each table."""
    with DAG(
        dag_id=name,
        schedule=schedule,
        start_date=datetime(2024, 1, 1),
        catchup=False,
        default_args={"owner": owner, "retries": 3, "retry_delay": timedelta(minutes=2)},
        tags=["ingest", owner],
    ) as dag:
        for table in tables:
            extract = BashOperator(task_id=f"extract_{table}", bash_command=f"ingestctl extract {table}")
            load = BashOperator(task_id=f"load_{table}", bash_command=f"ingestctl load {table}")
            check = BashOperator(task_id=f"check_{table}", bash_command=f"ingestctl check {table}")
            extract >> load >> check
    return dag
