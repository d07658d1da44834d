"""The command lint, and the gate before a publication, without an Airflow: real processes, repositories and stores.

These look into a directory. What needs an Airflow is in tests/airflow.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import xml.etree.ElementTree as ElementTree
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import BUNDLE, COMMANDS, Operator, Repository, environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG = f'[bundles.{BUNDLE}]\nroot = "dags"\n'
FAULT = "def load():\n    return tabel\n"
SOUND = "def load(table):\n    return table\n"


class Team:
    """A repository, and what lint says in it."""

    def __init__(self, folder: Path, files: Mapping[str, str | bytes], config: str = "", bundles: str = CONFIG) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.repository = Repository(folder / "clone", config=bundles + config)
        self.repository.change(files)
        self.operator = Operator(self.repository.path, self.store.as_uri())

    def configure(self, config: str) -> None:
        self.repository.change({"dagferry.toml": CONFIG + config})

    def found(self, *arguments: str, expect: int = 0, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """The findings' severities by ``path:rule``, without that of the missing Airflow."""
        document = self.operator.outcome("lint", *arguments, expect=expect, env=env).document
        rules = {f"{one['path']}:{one['rule']}": one["severity"] for one in document["findings"]}
        rules.pop(":no-airflow", None)
        return rules

    def text(self, *arguments: str, expect: int = 0, **env: str | None) -> tuple[str, str]:
        """What the command printed on stdout and stderr, without ``-o json``."""
        done = subprocess.run(
            [*COMMANDS["dagferry"], *arguments],
            cwd=self.repository.path,
            env=environment(DAGFERRY_STORE=self.store.as_uri(), **env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == expect, done
        assert "Traceback" not in done.stderr, done
        return done.stdout, done.stderr

    def policy(self, text: str, name: str = "policy.toml") -> str:
        """A policy file outside the repository."""
        path = self.folder / "site" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)


@pytest.fixture
def faulty(tmp_path: Path) -> Team:
    """One file with an undefined name, and one without a fault."""
    return Team(tmp_path, {"dags/sales.py": FAULT, "dags/stock.py": SOUND})


@pytest.fixture
def sound(tmp_path: Path) -> Team:
    return Team(tmp_path, {"dags/stock.py": SOUND})


# The formats


def test_text_has_the_notice_the_finding_and_the_verdict(faulty: Team) -> None:
    stdout, stderr = faulty.text("lint", expect=1)
    assert "No Airflow took part: the DAGs were NOT checked" in stdout
    assert "dags/sales.py\n  2:12 error: Undefined name `tabel` [F821]\n" in stdout
    assert "refused: 1 error, 1 warning, 0 notes in 1 file" in stdout
    assert "error: lint refuses this version: 1 error\n" in stderr
    assert "\x1b" not in stdout


@pytest.mark.parametrize("asked", [("-o", "json"), ("--format", "json"), ("--format=json",)])
def test_json_is_one_document_also_when_it_refuses(faulty: Team, asked: tuple[str, ...]) -> None:
    document = json.loads(faulty.text("lint", *asked, expect=1)[0])
    assert document["error"]["code"] == "lint_failed"
    assert document["checked"] == {"files": 2, "dag_files": 0, "dags": 0, "cached": 0, "environment": None}
    (finding,) = [one for one in document["findings"] if one["rule"] != "no-airflow"]
    assert (finding["path"], finding["line"], finding["column"]) == ("dags/sales.py", 2, 12)


@pytest.mark.parametrize("asked", [("-o", "json"), ("--format", "json"), ("--format=json",)])
@pytest.mark.parametrize("wrong", [("--rev", "nowhere"), ("--nonsense",), ("--policy", "absent.toml")])
def test_json_is_one_document_also_for_wrong_usage(sound: Team, asked: tuple[str, ...], wrong: tuple[str, ...]) -> None:
    stdout, stderr = sound.text("lint", *asked, *wrong, expect=2)
    assert set(json.loads(stdout)) == {"error"}
    assert stderr.startswith("error: ")


def test_json_may_be_asked_for_by_a_variable(sound: Team) -> None:
    assert json.loads(sound.text("lint", "--rev", "nowhere", expect=2, DAGFERRY_FORMAT="json")[0])["error"]
    assert sound.text("lint", "--format=text", "--rev", "nowhere", expect=2, DAGFERRY_FORMAT="json")[0] == ""


def test_sarif_names_repository_paths(faulty: Team) -> None:
    (run,) = json.loads(faulty.text("lint", "--format", "sarif", expect=1)[0])["runs"]
    places = {
        one["ruleId"]: one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in run["results"]
    }
    assert places == {"F821": "dags/sales.py", "no-airflow": "."}


def test_github_gets_annotations(faulty: Team) -> None:
    first, *_ = faulty.text("lint", "--format", "github", expect=1)[0].splitlines()
    assert first.startswith("::error ")
    assert "file=dags/sales.py,line=2," in first


def test_junit_has_a_failure(faulty: Team) -> None:
    suites = ElementTree.fromstring(faulty.text("lint", "--format", "junit", expect=1)[0])
    assert suites.get("failures") == "1"
    assert [case.get("file") for case in suites.iter("testcase") if case.find("failure") is not None] == [
        "dags/sales.py"
    ]


@pytest.mark.parametrize(
    ("plain", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)], ids=str
)
def test_colour_is_for_terminals(faulty: Team, plain: dict[str, str], coloured: bool) -> None:
    assert ("\x1b[" in on_a_terminal(faulty, "lint", **plain)) is coloured


def on_a_terminal(team: Team, *arguments: str, **env: str) -> str:
    """What somebody sees who types the command."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [*COMMANDS["dagferry"], *arguments],
            cwd=team.repository.path,
            env=environment(**{"TERM": "xterm", **env}),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
        )
    finally:
        os.close(theirs)
    seen = b""
    with process, os.fdopen(ours, "rb", buffering=0) as terminal:
        while True:
            try:
                piece = terminal.read(4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            seen += piece
    assert b"F821" in seen
    return seen.decode()


def test_explain_tells_of_a_rule_of_all_and_of_the_beginning_of_a_code(sound: Team) -> None:
    stdout, _ = sound.text("lint", "--explain", "import-error")
    assert stdout.startswith("import-error (error): ")
    assert "To mend it: " in stdout
    every = sound.operator.run("lint", "--explain", "all")["rules"]
    assert {"import-error", "F821", "secret", "no-airflow"} <= {one["id"] for one in every}
    several = sound.operator.run("lint", "--explain", "AIR3")["rules"]
    assert {one["id"][:4] for one in several} == {"AIR3"}
    assert len(several) > 1


def test_an_unknown_rule_is_wrong_usage_with_a_near_miss(sound: Team) -> None:
    refused = sound.operator.fail(2, "lint", "--explain", "import-eror")
    assert refused["hint"] == "did you mean 'import-error'?"


# The gate


@pytest.mark.parametrize("command", [("publish",), ("ship", "--channel", "prod")], ids=["publish", "ship"])
def test_an_error_refuses_a_publication_and_nothing_is_stored(faulty: Team, command: tuple[str, ...]) -> None:
    outcome = faulty.operator.outcome(*command, expect=1)
    assert outcome.error["code"] == "lint_failed"
    assert [one["rule"] for one in outcome.document["findings"]] == ["no-airflow", "F821"]
    assert not faulty.store.exists()
    assert "dags/sales.py" in outcome.stderr


def test_without_lint_it_is_published_and_the_report_says_so(faulty: Team) -> None:
    version = faulty.operator.run("publish", "--no-lint")["version"]
    assert faulty.operator.run("show", version)["report"]["lint"] is None


def test_warnings_refuse_nothing_and_are_in_the_report(faulty: Team) -> None:
    faulty.configure('[lint.severity]\nF821 = "warning"\n')
    version = faulty.operator.run("publish")["version"]
    lint = faulty.operator.run("show", version)["report"]["lint"]
    assert [(one["rule"], one["severity"], one["path"]) for one in lint["findings"]] == [
        ("no-airflow", "warning", ""),
        ("F821", "warning", "dags/sales.py"),
    ]


def test_a_publication_says_in_one_line_that_no_airflow_took_part(sound: Team) -> None:
    _, stderr = sound.text("publish")
    told = [line for line in stderr.splitlines() if "Airflow" in line]
    assert told == ["warning: no Airflow checked the DAGs of this bundle (`dagferry lint` says more)"]


def test_an_airflow_can_be_required_and_no_baseline_makes_up_for_it(sound: Team) -> None:
    sound.operator.run("lint", "--write-baseline", "known.json")
    sound.configure('[lint]\nrequire_airflow = true\nbaseline = "known.json"\n')
    document = sound.operator.outcome("lint", expect=1).document
    assert [(one["rule"], one["severity"]) for one in document["findings"]] == [("no-airflow", "error")]
    assert sound.operator.fail(1, "publish")["code"] == "lint_failed"


@pytest.mark.parametrize("named", ["absent-python", "sh -c", "unbalanced 'quote"])
def test_a_python_that_is_none_is_wrong_usage(sound: Team, named: str) -> None:
    assert sound.operator.fail(2, "lint", "--python", named)["code"] == "lint_python"


# Where the settings come from


def test_the_commit_decides_not_the_working_tree(faulty: Team) -> None:
    faulty.repository.write("dagferry.toml", CONFIG + '[lint.severity]\nF821 = "off"\n')
    outcome = faulty.operator.outcome("lint", expect=1)
    assert "what is not committed is not checked" not in outcome.stderr  # that is said of what lies below the root
    faulty.repository.commit()
    assert faulty.found() == {}


def test_a_commit_without_a_config_file_has_no_settings(tmp_path: Path) -> None:
    team = Team(tmp_path, {"dags/sales.py": FAULT}, bundles="")
    team.repository.write("dagferry.toml", '[lint.severity]\nF821 = "off"\n')
    assert team.found("--bundle", "etl", expect=1) == {"dags/sales.py:F821": "error"}


def test_changes_that_are_not_committed_are_told(sound: Team) -> None:
    sound.repository.write("dags/sales.py", FAULT)
    outcome = sound.operator.outcome("lint")
    assert "note: what is not committed is not checked" in outcome.stderr
    assert outcome.document["checked"]["files"] == 1


def test_an_older_commit_and_another_root_can_be_asked_for(sound: Team) -> None:
    sound.repository.change({"dags/sales.py": FAULT, "jobs/job.py": FAULT})
    assert sound.found(expect=1) == {"dags/sales.py:F821": "error"}
    assert sound.found("--rev", "HEAD~1") == {}
    assert sound.found("--root", "jobs", expect=1) == {"jobs/job.py:F821": "error"}


def test_a_policy_replaces_the_table_the_comments_and_the_baseline(tmp_path: Path) -> None:
    files = {
        "dags/comment.py": FAULT.replace("tabel", "tabel  # dagferry: ignore[F821] a plugin has it"),
        "dags/noqa.py": FAULT.replace("tabel", "tabel  # noqa: F821"),
        "dags/known.py": FAULT,
    }
    team = Team(tmp_path, files)
    team.operator.run("lint", "--write-baseline", "known.json")
    team.configure('[lint]\nbaseline = "known.json"\n')
    assert team.found() == {}
    strict = team.policy("[lint]\n")
    every = {f"{path}:F821": "error" for path in files}
    seen = team.found("--policy", strict, expect=1)
    assert every.items() <= seen.items()
    assert seen["dags/comment.py:suppression-not-allowed"] == "error"
    assert team.found(expect=1, env={"DAGFERRY_POLICY": strict}) == seen
    lenient = team.policy("[lint]\nsuppressions = true\n")
    others = {"dags/known.py:F821": "error", "dags/noqa.py:F821": "error"}
    assert team.found("--policy", lenient, expect=1) == others, "# noqa gives no reason"


def test_a_policy_has_a_baseline_beside_itself(faulty: Team) -> None:
    policy = faulty.policy('[lint]\nbaseline = "known.json"\n')
    refused = faulty.operator.fail(2, "lint", "--policy", policy)
    assert "known.json cannot be read" in refused["message"]
    faulty.operator.run("lint", "--policy", policy, "--write-baseline", str(faulty.folder / "site/known.json"))
    assert faulty.found("--policy", policy) == {}


def test_a_policy_may_be_a_pyproject(faulty: Team) -> None:
    policy = faulty.policy('[tool.dagferry.lint.severity]\nF821 = "warning"\n', "pyproject.toml")
    assert faulty.found("--policy", policy) == {"dags/sales.py:F821": "warning"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[lint", "not TOML"),
        ("store = 'x'\n", "there is no table [lint]"),
        ("[lint]\nimport_timout = 3\n", "unknown key lint.import_timout"),
        ("[lint]\nimport_timeout = 'long'\n", "lint.import_timeout: expected a number above 0"),
        ("[lint.severity]\nimport-eror = 'off'\n", "lint.severity: there is no rule 'import-eror'"),
        ("[lint.severity]\nF821 = 'fatal'\n", "lint.severity.F821: expected error, warning, note or off"),
        ("[[lint.overrides]]\nseverity = {}\n", "lint.overrides[0].paths: missing"),
        ("[lint.policy]\ndag_id = '['\n", "lint.policy.dag_id: not a regular expression"),
    ],
)
def test_a_policy_with_a_mistake_is_refused_with_its_place(sound: Team, text: str, told: str) -> None:
    policy = sound.policy(text)
    refused = sound.operator.fail(2, "lint", "--policy", policy)
    assert refused["message"].startswith(f"{policy}: ")
    assert told in refused["message"]


def test_a_policy_that_cannot_be_read_is_told(sound: Team) -> None:
    assert "cannot be read: No such file" in sound.operator.fail(2, "lint", "--policy", "absent.toml")["message"]


def test_misspelt_keys_and_rules_have_a_near_miss(sound: Team) -> None:
    sound.configure("[lint]\nimport_timout = 3\n")
    refused = sound.operator.fail(2, "lint")
    assert refused["code"] == "unknown_key"
    assert "the config file in commit" in refused["message"]
    assert refused["hint"] == "did you mean 'import_timeout'?"


# What is let pass


def test_a_comment_with_a_reason_suppresses_and_one_without_is_an_error(tmp_path: Path) -> None:
    line = "    return tabel  # dagferry: ignore[F821]"
    team = Team(tmp_path, {"dags/good.py": f"def f():\n{line} a plugin has it\n", "dags/bad.py": f"def f():\n{line}\n"})
    document = team.operator.outcome("lint", expect=1).document
    found = {(one["path"], one["rule"]) for one in document["findings"] if one["path"]}
    assert found == {("dags/bad.py", "F821"), ("dags/bad.py", "suppression-without-reason")}
    assert document["suppressed"] == 1


def test_severities_are_overridden_by_folder(tmp_path: Path) -> None:
    team = Team(tmp_path, {"dags/new/a.py": FAULT, "dags/old/a.py": FAULT})
    team.configure('[[lint.overrides]]\npaths = ["dags/old/*"]\nseverity = { F821 = "note" }\n')
    assert team.found(expect=1) == {"dags/new/a.py:F821": "error", "dags/old/a.py:F821": "note"}


def test_a_baseline_lets_pass_what_was_there_and_nothing_new(faulty: Team) -> None:
    faulty.configure('[lint]\nbaseline = "known.json"\n')
    assert faulty.operator.fail(2, "lint")["code"] == "no_baseline"
    written = faulty.operator.run("lint", "--write-baseline", "known.json")
    assert written == {"baseline": "known.json", "findings": 1, "left": 0}
    faulty.repository.commit()
    document = faulty.operator.run("lint")
    assert document["baselined"] == 1
    faulty.repository.change({"dags/stock.py": FAULT})
    assert faulty.found(expect=1) == {"dags/stock.py:F821": "error"}
    faulty.repository.change({"dags/sales.py": SOUND, "dags/stock.py": SOUND})
    assert faulty.found() == {"known.json:stale-baseline": "note"}


def test_a_baseline_that_is_written_again_still_knows_the_old_findings(faulty: Team) -> None:
    faulty.operator.run("lint", "--write-baseline", "known.json")
    faulty.configure('[lint]\nbaseline = "known.json"\n')
    faulty.repository.change({"dags/stock.py": FAULT})
    assert faulty.operator.run("lint", "--write-baseline", "known.json")["findings"] == 2
    faulty.repository.commit()
    assert faulty.found() == {}


def test_a_baseline_that_a_merge_broke_is_replaced(faulty: Team) -> None:
    faulty.repository.write("known.json", "<<<<<<< ours\n")
    outcome = faulty.operator.outcome("lint", "--write-baseline", "known.json")
    assert "known.json could not be read as a baseline, and is replaced" in outcome.stderr
    faulty.configure('[lint]\nbaseline = "known.json"\n')
    assert faulty.found() == {}


def test_entries_of_an_airflow_stay_where_none_takes_part(faulty: Team) -> None:
    entry = {"path": "dags/sales.py", "rule": "slow-import", "fingerprint": "0" * 32, "message": "slow"}
    faulty.repository.write("known.json", json.dumps({"format": 1, "findings": [entry]}))
    assert faulty.operator.run("lint", "--write-baseline", "known.json")["findings"] == 2


@pytest.mark.parametrize("place", ["../known.json", "/known.json"])
def test_a_baseline_outside_the_repository_is_refused(sound: Team, place: str) -> None:
    sound.configure(f'[lint]\nbaseline = "{place}"\n')
    refused = sound.operator.fail(2, "lint")
    assert f"lint.baseline: {place!r} is not in the repository" in refused["message"]


def test_bundles_of_a_monorepo_have_paths_of_the_repository_and_share_a_baseline(tmp_path: Path) -> None:
    bundles = (
        '[bundles.a]\nroot = "team_a/dags"\n[bundles.b]\nroot = "team_b/dags"\n[lint]\nbaseline = "ci/known.json"\n'
    )
    team = Team(tmp_path, {"team_a/dags/a.py": FAULT, "team_b/dags/b.py": FAULT, "ci/run": ""}, bundles=bundles)
    for bundle in ("a", "b"):
        team.operator.run("lint", "--bundle", bundle, "--write-baseline", "ci/known.json")
    team.repository.change({"team_b/dags/new.py": FAULT})
    assert team.found("--bundle", "a") == {}
    assert team.found("--bundle", "b", expect=1) == {"team_b/dags/new.py:F821": "error"}


def test_what_cannot_be_packed_is_found_at_its_place_and_nothing_else_is_asked(tmp_path: Path) -> None:
    team = Team(tmp_path, {"dags/sales.py": FAULT})
    team.repository.link("dags/sub/gone.py", "/etc/passwd")
    team.repository.commit()
    document = team.operator.outcome("lint", expect=1).document
    assert [(one["rule"], one["path"]) for one in document["findings"]] == [("cannot-pack", "dags/sub/gone.py")]
    assert document["checked"]["files"] == 0
    assert team.operator.run("lint", "--write-baseline", "known.json")["left"] == 1


# The cache


def test_a_home_that_is_not_there_or_cannot_be_written_stops_nothing(sound: Team, tmp_path: Path) -> None:
    for home in ("/proc/nowhere", str(tmp_path / "absent")):
        assert sound.found(env={"HOME": home}) == {}
    assert sound.operator.run("publish", env={"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere"})["created"]


def test_a_cache_folder_that_is_a_file_is_wrong_usage(sound: Team) -> None:
    refused = sound.operator.fail(2, "lint", "--cache-dir", "dagferry.toml")
    assert "--cache-dir" in refused["message"]
    assert sound.found("--no-cache", env={"DAGFERRY_CACHE_DIR": str(sound.folder / "cache")}) == {}
