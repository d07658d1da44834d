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
    "owner": "billing",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


def dunning(country, hour):
    with DAG(
        "dunning",
        schedule=f"0 {hour} * * *",
        start_date=datetime(2025, 1, 1),
        catchup=False,
        default_args=DEFAULT_ARGS,
        tags=["billing", country],
    ) as made:
        BashOperator(task_id="remind", bash_command=f"dunning remind --country {country}")
    return made


for country, hour in {"de": 6, "fr": 7, "pl": 8}.items():
    globals()[f"dunning_{country}"] = dunning(country, hour)
