"""Trains the churn model on a cluster which lives only as long as the run."""
from datetime import datetime, timedelta

from airflow import DAG

try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

with DAG(
    dag_id="churn_training_eu",
    schedule="0 22 * * 6",
    start_date=datetime(2024, 2, 1),
    catchup=False,
    max_active_runs=1,
    default_args={
        "owner": "data-science",
        "retries": 1,
        "retry_delay": timedelta(minutes=15),
        "execution_timeout": timedelta(hours=6),
    },
    tags=["churn", "ml"],
) as dag:
    create_cluster = BashOperator(
        task_id="create_cluster",
        bash_command="clusterctl create churn-{{ ds_nodash }} --nodes 8",
    )
    features = BashOperator(
        task_id="build_features",
        bash_command="clusterctl submit churn-{{ ds_nodash }} features.jar",
    )
    train = BashOperator(
        task_id="train_model",
        bash_command="clusterctl submit churn-{{ ds_nodash }} train.jar",
    )
    delete_cluster = BashOperator(
        task_id="delete_cluster",
        bash_command="clusterctl delete churn-{{ ds_nodash }} --ignore-missing",
    ).as_teardown(setups=create_cluster)

    create_cluster >> features >> train >> delete_cluster
