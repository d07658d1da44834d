"""Which versions the runs of this Airflow need, by its database; only where one may ask it (not in a task)."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


def needed_versions(days: float) -> set[str]:
    """The bundle versions of runs that have not ended, or ended within so many days and may be cleared.

    Whatever bundle they are of: which bundle's a run was is not written at the run. Raises what the database raises.
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
