from datetime import datetime, timedelta

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

MEBIBYTE = 1024 * 1024
DEFAULT_ARGS = {
    "owner": "science",
    "retries": 2,
    "execution_timeout": timedelta(minutes=30),
}


def samples(count):
    """Random looking samples, each of one mebibyte."""
    return [bytes([number % 251]) * MEBIBYTE for number in range(count)]


SAMPLES = samples(2048)


@dag(
    schedule="@weekly",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["science"],
)
def calibrate():
    @task
    def mean():
        return sum(sample[0] for sample in SAMPLES) / len(SAMPLES)

    mean()


calibrate()
