"""``dagferry-agent doctor``: what about this pod will not work."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dagferry_schemas import commandline

from . import logs
from .cli_options import SETTINGS, agent_id, following, option, settings_of

if TYPE_CHECKING:
    from .doctor_finding import Finding


@click.command()
@option(
    "--dags-folder",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Where Airflow reads DAGs, as this machine has it.  [default: AIRFLOW__CORE__DAGS_FOLDER]",
)
@option("--read-only", is_flag=True, help="Write nothing; what only shows by writing is not tried.")
@following(required=True)
@SETTINGS
def doctor(dags_folder: Path | None, read_only: bool, **options: Any) -> None:  # noqa: ANN401
    """Say what about this pod will not work; what is tried leaves nothing behind."""
    from .doctor import diagnose, require_fit
    from .doctor_airflow import DAGS_FOLDER, MOUNTS

    settings = settings_of(options)
    logs.to_stderr(
        logging.ERROR,
        options["log_format"] or "text",
        logs.Origin(agent_id(options), options["bundle"], options["channel"]),
    )
    dags_folder = dags_folder or (Path(named) if (named := os.environ.get(DAGS_FOLDER)) else None)
    findings = diagnose(
        settings,
        dags_folder=dags_folder.absolute() if dags_folder is not None else None,
        environment=os.environ,
        mounts=MOUNTS,
        clock=time.time,
        read_only=read_only,
    )
    result = {
        "agent_id": settings.agent_id,
        "root": str(settings.root),
        "ok": not any(finding.fails for finding in findings),
        "checks": [finding.to_dict() for finding in findings],
    }
    text = "\n".join([f"{settings.agent_id}, {settings.root}", *map(_line, findings)])
    if options["output"] == "text" and not result["ok"]:
        commandline.emit(result, "text", text)
    require_fit(findings, result)
    commandline.emit(result, options["output"], text)


def _line(finding: Finding) -> str:
    return commandline.plain(f"{finding.word:6} {finding.name}: {finding.detail}")
