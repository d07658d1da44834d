"""Commands that look, and hand on: versions, show, verify, export, copy, notify, status."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dagferry_schemas.acknowledgement import GONE
from dagferry_schemas.commandline import emit, plain
from dagferry_schemas.errors import BadData, Forbidden, Usage
from dagferry_schemas.rollout import release_for
from dagferry_storage import fetch, published
from dagferry_storage.cli_naming import Naming
from dagferry_storage.cli_progress import shown

from . import catalog, options, report_text
from .access import Access, parse_urls
from .channel import candidate_facts
from .cli_telling import agents_answered, report
from .leaving import LeftOut
from .site import now

if TYPE_CHECKING:
    from dagferry_schemas.endpoint import AgentStatus
    from dagferry_schemas.record import Record
    from dagferry_schemas.version import Version
    from dagferry_storage.store import Store

    from .agents import Answer
    from .site import Site


@click.command()
@options.placed
def versions(site: Site, output: str) -> None:
    """The published versions, newest commit first."""
    found = catalog.versions(site.store, site.bundle_name)
    facts = [_version_facts(one) for one in found.versions]
    lines = [f"{one['version']}  {one['commit_time']}  {one['files']} files, {one['size']} bytes" for one in facts]
    lines += [plain(f"{name}  DAMAGED: {problem}") for name, problem in found.damaged.items()]
    emit(
        {"versions": facts, "damaged": found.damaged},
        output,
        "\n".join(lines) or "no version yet: `dagferry publish` makes the first",
    )


def _version_facts(one: published.Published) -> dict[str, Any]:
    version = one.version
    return {
        "version": version.version,
        "commit": version.commit,
        "commit_time": version.commit_time,
        "tag": version.tag,
        "tree": version.content.tree,
        "files": version.content.files.count,
        "size": version.content.tarball.size,
    }


@click.command()
@click.argument("version")
@options.placed
def show(version: str, site: Site, output: str) -> None:
    """One version whole: its document, its report, and the DAGs that Airflow saw in it."""
    one = published.resolve(site.store, site.bundle_name, version)
    report = catalog.report(site.store, site.bundle_name, one.version.version)
    content = one.version.content
    result = {
        **_version_facts(one),
        "bundle": one.version.bundle,
        "first_parents": one.version.first_parents,
        "selection": dict(one.version.selection),
        "tarball": content.tarball.to_dict(),
        "file_list": content.files.to_dict(),
        "report": report,
    }
    emit(result, output, plain_lines(_shown(result)))


def _shown(result: dict[str, Any]) -> list[str]:
    """Two columns for a person, then the DAGs; of the report what was noticed."""
    report = result["report"] or {}
    dags, table = report_text.dag_lines(result["report"])
    rows = {
        **{name: result[name] for name in ("version", "commit", "commit_time", "tag", "tree")},
        **_selection_rows(result["selection"]),
        "files": f"{result['files']} ({result['tarball']['plain_size']} bytes as tar, {result['size']} compressed)",
        "built": (report.get("built") or {}).get("at", "no report"),
        "lint": report_text.lint_line(result["report"]),
        "DAGs": dags,
    }
    lines = [f"{name:12} {'none' if value is None else value}" for name, value in rows.items()]
    left_out = [LeftOut(one["path"], one["rule"], one.get("files", 1)) for one in report.get("left_out", ())]
    lines += [f"left out     {one}" for one in left_out]
    lines += [f"unconverted  {one['path']} ({', '.join(one['attributes'])})" for one in report.get("unconverted", ())]
    return lines + (["", *table] if table else [])


def _selection_rows(selection: dict[str, Any]) -> dict[str, str]:
    """What was selected, as rows of `show`."""
    roots = selection.get("roots")
    rows = {"root": selection.get("root") or "the top of the repository"}
    if isinstance(roots, dict):
        rows = {"roots": ", ".join(f"{place or '.'} from {folder or '.'}" for place, folder in roots.items())}
    return rows | {name: ", ".join(selection[name]) for name in ("include", "exclude") if selection.get(name)}


def plain_lines(lines: list[str]) -> str:
    """The lines as text for a terminal: what they quote cannot send it control characters."""
    return "\n".join(map(plain, lines))


@click.command()
@click.argument("version", required=False)
@options.option(
    "--channel", "channel_name", cls=Naming, metavar="C", default=None, help="Verify a channel and what is live on it."
)
@options.placed
def verify(version: str | None, channel_name: str | None, site: Site, output: str) -> None:
    """Check that the stored bytes are what they claim to be."""
    from .verify import verify_channel, verify_version

    asked = click.get_current_context().get_parameter_source("channel_name") is ParameterSource.COMMANDLINE
    if version is not None and not asked:
        channel_name = None  # it was named for the other commands, by the environment or the config file
    if (version is None) == (channel_name is None):
        raise Usage("verify takes a VERSION or --channel", "give exactly one of them")
    if channel_name is not None:
        channel = site.channel(channel_name)
        live = channel.existing_head().record.live
        store = shown(site.store, f"{site.bundle_name} {live.version}", live.content.tarball.size)
        checks = verify_channel(store, site.bundle_name, channel)
    else:
        one = published.resolve(site.store, site.bundle_name, version or "").version
        checks = verify_version(_showing(site, one), site.bundle_name, one.version, site.signing.policy)
    failed = [check for check in checks if not check.ok]
    result = {"ok": not failed, "checks": [check.to_dict() for check in checks]}
    if failed:
        said = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        raise BadData(
            f"verification failed: {said}", "nothing that is live was touched", code="verify_failed", result=result
        )
    emit(result, output, plain_lines([f"ok {check.name}: {check.detail}" for check in checks]))


def _showing(site: Site, version: Version) -> Store:
    """The site's store, which shows how far the download of ``version`` is."""
    return shown(site.store, f"{version.bundle} {version.version}", version.content.tarball.size)


@click.command()
@click.argument("version")
@options.option(
    "--to", "target", type=click.Path(path_type=Path), required=True, help="A folder that is absent or empty."
)
@options.placed
def export(version: str, target: Path, site: Site, output: str) -> None:
    """Write a version's tree to a folder."""
    from .export import export as export_tree

    found = published.resolve(site.store, site.bundle_name, version)
    fetch.statement(site.store, found, site.signing.policy)
    one = found.version
    files = export_tree(_showing(site, one), site.bundle_name, one.content, target)
    result = {"version": one.version, "tree": one.content.tree, "files": files, "path": str(target)}
    emit(result, output, f"{files} files of {one.version} in {target}")


@click.command()
@click.argument("version")
@options.option(
    "--to-store", "target_url", cls=Naming, metavar="URL", required=True, help="The store that it is copied to."
)
@options.dry_run
@options.signing
def copy(version: str, target_url: str, dry_run: bool, site: Site, output: str) -> None:
    """Copy a version to another store, verified on the way."""
    from .copying import Trust
    from .copying import copy as copy_version

    # What the source has was perhaps signed by others: our own keys say nothing of it.
    trust = Trust(replace(site, signer_uris=()).signing.policy, site.voucher(now()))
    found = published.resolve(site.store, site.bundle_name, version).version
    target = replace(site, store_url=target_url)
    store = target.store if dry_run else target.writable_store(site.bundle_name)
    store = shown(store, f"{found.bundle} {found.version}")
    publication = copy_version(
        _showing(site, found), store, site.bundle_name, found.version, trust=trust, dry_run=dry_run
    )
    one = publication.published.version
    result = {
        "version": one.version,
        "tree": one.content.tree,
        "store": target.store.url,
        "created": publication.created,
        "dry_run": dry_run,
    }
    did = ("would be copied" if dry_run else "copied") if publication.created else "is there already"
    emit(result, output, f"{one.version}: {did} ({target.store.url})")


@click.command()
@options.channel
@options.agents(required=False)
@options.reaching
@options.wait
@options.announcing
@options.placed
def notify(
    channel_name: str,
    agents_text: tuple[str, ...],
    access: Access,
    timeout: float,
    wait: bool,
    site: Site,
    output: str,
) -> None:
    """Ask agents to pull now, and wait until they serve what the channel says; or only wait, with --wait."""
    from . import acknowledged, agents

    urls = () if wait and not agents_text else parse_urls(",".join(agents_text))
    record = site.channel(channel_name).existing_head().record
    result: dict[str, Any] = {"channel": channel_name, "generation": record.generation}
    heard = acknowledged.Acknowledgements(site.store, site.bundle_name, channel_name) if wait else None
    answers = acknowledged.reach(result, urls, access, heard, (site.bundle_name, channel_name), timeout, options.note)
    agents_answered(record, answers)
    agents.require(answers, result)
    lines = [f"{one.url} serves {one.version} (generation {one.generation}) after {one.seconds} s" for one in answers]
    report(result, output, plain_lines(lines))


@click.command()
@options.option(
    "--channel", "channel_name", cls=Naming, metavar="C", default=None, help="The channel. [default: the only one]"
)
@options.agents(required=False)
@options.looking
@options.placed
def status(
    channel_name: str | None,
    agents_text: tuple[str, ...],
    access: Access,
    timeout: float,
    site: Site,
    output: str,
) -> None:
    """What the channel says, what each agent serves, and whether they agree."""
    record = site.channel(channel_name or _only_channel(site)).existing_head().record
    if agents_text:
        from . import agents

        found = agents.statuses(parse_urls(",".join(agents_text)), access, timeout)
    else:
        found = _acknowledged(site, record)
    rows = [_row(answer, state, record) for answer, state in found]
    result = {
        "channel": record.channel, "generation": record.generation, "version": record.live.version,
        "tree": record.live.content.tree, "issued": record.issued, "actor": record.actor, "action": record.action,
        "reason": record.reason, "hold": vars(record.hold) if record.hold else None,
        "candidate": candidate_facts(record), "bad": list(record.bad),
        "agents": rows, "converged": all(row["agree"] for row in rows if not row["absent"]),
    }  # fmt: skip
    held = f", held by {record.hold.by}: {record.hold.reason}" if record.hold else ""
    lines = [
        f"{record.channel}: generation {record.generation} is {record.live.version}{held}",
        f"  {record.action} by {record.actor} at {record.issued}" + (f": {record.reason}" if record.reason else ""),
    ]
    if record.candidate is not None:
        candidate = record.candidate
        lines.append(
            f"  {candidate.live.version} is going live in steps, for {', '.join(candidate.targets)} until "
            f"{candidate.until}"
        )
    if rows and not agents_text:
        lines.append("agents, as they say in the store (nobody signs that):")
    lines += [_line(row) for row in rows if row["absent"] != GONE]
    ended = sum(row["absent"] == GONE for row in rows)
    if ended:
        lines.append(f"  {ended} more said goodbye")
    emit(result, output, plain_lines(lines))


def _acknowledged(site: Site, record: Record) -> list[tuple[Answer, AgentStatus | None]]:
    """What agents say in the store; nothing, and a note, for who may not look there."""
    from .acknowledged import Acknowledgements

    try:
        return Acknowledgements(site.store, record.bundle, record.channel).statuses()
    except Forbidden as error:
        click.echo(plain(f"note: what agents say in the store is not shown: {error.message}"), err=True)
        return []


def _line(row: dict[str, Any]) -> str:
    """One agent for a person."""
    wrong = "" if row["agree"] or row["absent"] else f"  <- {row['problem']}"
    return f"  {row['url']}: {row['error'] or _served(row)}{_noted(row)}{wrong}"


def _row(answer: Answer, state: AgentStatus | None, record: Record) -> dict[str, Any]:
    """What one agent says, whether it agrees with the channel, and what is wrong if it does not."""
    problem, wanted = None, record.live.content.tree
    if state is not None:
        wanted = release_for(record, state.agent_id, state.labels, now()).content.tree
    if state is None:
        problem = "not what the channel says"
    elif (state.bundle, state.channel) != (record.bundle, record.channel):
        problem = f"it follows channel {state.channel!r} of bundle {state.bundle!r}"
    elif state.tree != wanted or (state.generation or 0) < record.generation:
        problem = "not what the channel says"
    elif state.drift:
        problem = f"{len(state.drift)} files are not what was delivered, for example {state.drift[0]}"
    last_error = state.last_error if state else None
    if problem and last_error:
        problem += f"; its last pull failed: {last_error.get('code')}: {last_error.get('message')}"
    return {
        **answer.to_dict(),
        "agree": problem is None,
        "problem": problem,
        "last_error": last_error,
        "verifying": state.verifying if state else None,
        "signed_by": list(state.signed_by) if state else [],
        "alarms": list(state.alarms) if state else [],
        "candidate": state.candidate if state else None,
    }


def _noted(row: dict[str, Any]) -> str:
    """What is not as it should be although the agent serves the right release: alarms, and a pull that failed since."""
    notes = [alarm.replace("_", " ") for alarm in row["alarms"]]
    if row["agree"] and row["last_error"]:
        notes.append(f"its last pull failed: {row['last_error'].get('code')}: {row['last_error'].get('message')}")
    return f" ({'; '.join(notes)})" if notes else ""


def _served(row: dict[str, Any]) -> str:
    return f"{row['version'] or 'nothing yet'}" + (f" (generation {row['generation']})" if row["generation"] else "")


def _only_channel(site: Site) -> str:
    names = catalog.channel_names(site.store, site.bundle_name)
    if len(names) != 1:
        raise Usage(f"there are {len(names)} channels: {', '.join(names)}", "choose one with --channel")
    return names[0]
