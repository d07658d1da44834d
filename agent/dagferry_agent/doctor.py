"""What about this pod will not work: every check of ``dagferry-agent doctor``, in order, and how that ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagferry_schemas.errors import BadData

from .doctor_airflow import Api, Reader
from .doctor_endpoint import Endpoint
from .doctor_finding import examine
from .doctor_store import Source
from .doctor_volume import Volume
from .root import Root

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from .doctor_finding import Finding
    from .settings import Settings


def diagnose(
    settings: Settings,
    *,
    dags_folder: Path | None,
    environment: Mapping[str, str],
    mounts: Path,
    clock: Callable[[], float],
    read_only: bool = False,
) -> tuple[Finding, ...]:
    """Make every check. Raises nothing that is foreseen.

    ``dags_folder``: where Airflow reads, None where that is not known; ``mounts``: a mountinfo; ``clock`` gives seconds
    since 1970; with ``read_only`` nothing is written, and what only shows by writing is not tried.
    """
    root, source = Root(settings.root), Source(settings, clock)
    return tuple(
        examine(
            [
                *source.steps(),
                *Volume(root, lambda: source.content, read_only=read_only).steps(),
                *Reader(root, dags_folder, environment, mounts).steps(),
                *Api(settings).steps(),
                *Endpoint(settings, clock).steps(),
            ]
        )
    )


def require_fit(findings: tuple[Finding, ...], result: Mapping[str, Any]) -> None:
    """Raise what the findings amount to, with ``result`` for its document; nothing where the pod is fit."""
    failed = [finding.name for finding in findings if finding.fails]
    if failed:
        raise BadData(
            f"{len(failed)} of the checks failed: {', '.join(failed)}",
            "each line says what to do; an agent that runs keeps what is live",
            code="unfit_pod",
            result=result,
        )
