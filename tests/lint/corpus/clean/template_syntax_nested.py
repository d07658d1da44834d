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
    "owner": "ml",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}

with DAG(
    "recommender_training",
    schedule="0 0 * * 6",
    start_date=datetime(2025, 1, 4),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["ml"],
):
    BashOperator(
        task_id="train",
        bash_command="recommender train",
        append_env=True,
        env={
            "MODEL_DAY": "{{ ds }}",
            "MODEL_RUN": "{{ run_id | replace(':', '-') }}",
        },
    )
