"""The documents say what the programs do: commands, options, variables, keys and codes, compared in both directions."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagferry_agent.settings import Settings
from dagferry_builder import config
from dagferry_schemas import errors
from tests.ci.commands import PROGRAMS, calls_in, every, objection, options_of, variables_of

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[2]
PAGES = sorted([*TOP.glob("*.md"), *TOP.glob("docs/*.md"), *TOP.glob("ci/**/*.md")])
IDS = [page.relative_to(TOP).as_posix() for page in PAGES]
CONFIGURATION = TOP / "docs/configuration.md"
EXIT_CODES = TOP / "docs/exit-codes.md"
COMPONENTS = [TOP / name for name in ("schemas", "storage", "builder", "agent")]
SOURCES = [source for component in COMPONENTS for source in component.glob("dagferry_*/**/*.py")
           if source.name != "__init__.py" and source.parts[-2:] != ("lint", "probe.py")]  # fmt: skip
"""All modules but the probe of lint, which is no module of ours where it runs."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    return FENCE.sub("", text_of(page))


def calls_on(page: Path) -> Iterator[list[str]]:
    """All calls of our programs: in ``sh`` blocks every line, in ``console`` blocks after the ``$``, in code spans."""
    for kind, block in FENCE.findall(text_of(page)):
        lines = re.sub(r"\\\n\s*", "", block).splitlines()
        if kind == "sh":
            for line in lines:
                yield from calls_in(line)
        elif kind == "console":
            for line in lines:
                if line.strip().startswith("$ "):
                    yield from calls_in(line.strip()[2:])
    for span in SPAN.findall(prose_of(page)):
        if span.split()[0] in PROGRAMS:
            yield from calls_in(span)


def table(page: Path, heading: str) -> list[list[str]]:
    """The rows of the tables below a heading, up to the next one, without their heads."""
    section = text_of(page).split(f"\n{heading}\n", 1)[1]
    section = re.split(r"^#+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    ends = [index for index, row in enumerate(rows) if set(row[0]) <= {"-", " "}]
    return [row for index, row in enumerate(rows) if index not in ends and index + 1 not in ends]


def spans(cells: list[str]) -> set[str]:
    return {span for cell in cells for span in SPAN.findall(cell)}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_and_options_exist(page: Path) -> None:
    assert [found for call in calls_on(page) if (found := objection(call))] == []


def test_calls_are_found() -> None:
    """A guard of the tests above: a change of the pages' form must not leave them with nothing to look at."""
    found = {tuple(call[:2]) for page in PAGES for call in calls_on(page)}
    assert len(found) > 20
    planted = "dagferry nonsense\nX=1 dagferry ship --chanel prod | cat\n"
    assert [objection(call) is None for line in planted.splitlines() for call in calls_in(line)] == [False, False]


def test_both_programs_know_short_help() -> None:
    assert all(group.context_settings["help_option_names"] == ["-h", "--help"] for group in PROGRAMS.values())


def test_every_command_is_mentioned() -> None:
    mentioned = {" ".join(call) for page in PAGES for call in calls_on(page)}
    for program, group in PROGRAMS.items():
        for name, _ in every(group, program):
            assert any(f"{one} ".startswith(f"{name} ") for one in mentioned), f"{name} is on no page"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(prose_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            broken.append(target)
    assert broken == []


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_config_keys_are_those_of_the_program() -> None:
    assert spans([row[0] for row in table(CONFIGURATION, "### Where and how")]) == set(config.OPTIONS)
    assert spans([row[0] for row in table(CONFIGURATION, "### What is delivered")]) == set(config.BUNDLE_KEYS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_options_are_those_of_the_program(program: str) -> None:
    rows = table(CONFIGURATION, f"## Options of {program}")
    named = {span.split()[0] for span in spans([row[0] for row in rows])}
    commands = [command for _, command in every(PROGRAMS[program], program)]
    assert named == set().union(*map(options_of, commands))


@pytest.mark.parametrize("program", PROGRAMS)
def test_variables_are_those_of_the_program(program: str) -> None:
    rows = table(CONFIGURATION, f"## Options of {program}")
    assert spans([row[1] for row in rows]) == variables_of(program)
    for row in rows:
        for variable in spans([row[1]]):
            prefix = "DAGFERRY_AGENT_" if program == "dagferry-agent" else "DAGFERRY_"
            option = "--" + variable.removeprefix(prefix).lower().replace("_", "-")
            assert option in {span.split()[0] for span in spans([row[0]])}


def test_other_variables_on_the_pages_exist() -> None:
    ours = variables_of("dagferry") | variables_of("dagferry-agent") | {"DAGFERRY_VENV", "DAGFERRY_AIRFLOW_VENVS"}
    for module in [*(TOP / "tests/bench").glob("*.py"), TOP / "builder/dagferry_builder/rollout.py"]:
        ours |= set(re.findall(r'"(DAGFERRY_[A-Z_]*[A-Z])"', module.read_text()))
    workflow = {"DAGFERRY_PACKAGE", "DAGFERRY_TOKEN"}
    for page in PAGES:
        assert set(re.findall(r"\bDAGFERRY_[A-Z_]*[A-Z]\b", text_of(page))) <= ours | workflow, page


def test_defaults_of_the_agent_are_those_of_the_program() -> None:
    rows = table(CONFIGURATION, "## Options of dagferry-agent")
    default = {next(iter(spans([row[0]]))).split()[0]: row[2].strip("`") for row in rows if "-o" not in row[0]}
    assert default["--listen"] == f"{Settings.host}:{Settings.port}"
    assert float(default["--poll-seconds"]) == Settings.poll_seconds
    assert int(default["--keep-releases"]) == Settings.keep_releases
    assert float(default["--grace-hours"]) == Settings.grace_hours
    assert default["--durability"] == Settings.durability


def kinds() -> dict[str, type[errors.DagferryError]]:
    """All classes of errors, wherever they are defined."""
    for source in SOURCES:
        if source.stem.startswith("airflow_"):  # needs an Airflow, and defines no error of its own
            assert "(DagferryError)" not in source.read_text()
            continue
        component = next(one for one in COMPONENTS if source.is_relative_to(one))
        importlib.import_module(".".join(source.relative_to(component).with_suffix("").parts))
    found: dict[str, type[errors.DagferryError]] = {}
    pending: list[type[errors.DagferryError]] = [errors.DagferryError]
    while pending:
        kind = pending.pop()
        found[kind.__name__] = kind
        pending += kind.__subclasses__()
    return found


def codes_in_the_source() -> dict[str, set[int]]:
    """Every error code of the commands that the source names, with the exit codes that it comes with."""
    known = kinds()
    found: dict[str, set[int]] = {"bug": {70}, "interrupted": {130}, "terminated": {143}, "closed_pipe": {1}}
    for kind in known.values():
        if kind.__module__.startswith("dagferry_"):
            found.setdefault(kind.code, set()).add(kind.exit_code)
    for source in SOURCES:
        for node in ast.walk(ast.parse(text_of(source))):
            if isinstance(node, ast.Call) and (raised := known.get(ast.unparse(node.func).rpartition(".")[2])):
                for keyword in node.keywords:
                    if keyword.arg == "code":
                        for code in constants(keyword.value):
                            found.setdefault(code, set()).add(raised.exit_code)
    return found


def constants(node: ast.expr) -> set[str]:
    return {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def test_error_codes_are_those_of_the_program() -> None:
    said: dict[str, set[int]] = {}
    for row in table(EXIT_CODES, "## Error codes"):
        if row[0].isdigit():
            for code in spans([row[1]]):
                said.setdefault(code, set()).add(int(row[0]))
    assert said == codes_in_the_source()


def test_exit_codes_are_those_of_the_program() -> None:
    said = {int(row[0]) for row in table(EXIT_CODES, "## Exit codes")}
    ends = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert said == ends | {kind.exit_code for kind in kinds().values()}
