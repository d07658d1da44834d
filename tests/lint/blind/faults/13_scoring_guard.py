"""Mails the campaign of the week, unless the scores of the customers are being recalculated."""
from datetime import timedelta

import pendulum

from airflow.models import DagRun
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import dag, task
from airflow.utils.session import create_session


@dag(
    dag_id="campaign_mailing",
    schedule="0 9 * * 1",
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"owner": "marketing", "retries": 1, "retry_delay": timedelta(minutes=5)},
    tags=["marketing", "mailing"],
)
def campaign_mailing():
    @task.short_circuit
    def scores_are_settled():
        with create_session() as session:
            running = (
                session.query(DagRun)
                .filter(DagRun.dag_id == "customer_scoring", DagRun.state == "running")
                .count()
            )
        return running == 0

    send = BashOperator(task_id="send_mailing", bash_command="mailingctl send weekly")

    scores_are_settled() >> send


campaign_mailing()
