"""What this Airflow's database says: which versions runs need, and whether DAGs are what their files are.

It may be asked in the dag-processor only, never in a task. Every function raises what the database raises.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from .version_settling import Failure, Parse


def needed_versions(days: float) -> set[str]:
    """The bundle versions of runs that have not ended, or ended within so many days and may be cleared.

    Whatever bundle they are of: which bundle's a run was is not written at the run.
    """
    from airflow.models.dagrun import DagRun  # type: ignore[import-not-found]
    from airflow.utils.session import create_session  # type: ignore[import-not-found]
    from sqlalchemy import or_, select

    since = datetime.now(timezone.utc) - timedelta(days=days)
    ended = DagRun.state.in_(("success", "failed"))
    wanted = select(DagRun.bundle_version).where(
        DagRun.bundle_version.is_not(None), or_(~ended, DagRun.end_date.is_(None), DagRun.end_date > since)
    )
    with create_session() as session:
        return set(session.scalars(wanted.distinct()))


def parses(bundle: str) -> list[Parse | Failure]:
    """The last parses of the files of a bundle, by its name in Airflow: of each DAG, and of what cannot be imported."""
    from airflow.models.dag import DagModel  # type: ignore[import-not-found]
    from airflow.models.errors import ParseImportError  # type: ignore[import-not-found]
    from airflow.models.serialized_dag import SerializedDagModel  # type: ignore[import-not-found]
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    facts = (DagModel.relative_fileloc, DagModel.fileloc, DagModel.last_parsed_time)
    wanted = (
        select(*facts, func.max(SerializedDagModel.last_updated))
        .join(SerializedDagModel, SerializedDagModel.dag_id == DagModel.dag_id)
        .where(DagModel.bundle_name == bundle, ~DagModel.is_stale, DagModel.last_parsed_time.is_not(None))
        .group_by(DagModel.dag_id, *facts)
    )
    error = ParseImportError
    failed = select(error.filename, error.stacktrace, error.timestamp).where(error.bundle_name == bundle)
    with create_session() as session:
        found: list[Parse | Failure] = [Parse(*row) for row in session.execute(wanted) if None not in row]
        # a path alone says where, too: Airflow 3.0 has it whole
        found += [Failure(row[0], f"{row[0]}\n{row[1]}", row[2]) for row in session.execute(failed) if None not in row]
    return found
