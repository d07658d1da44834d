"""The post-merge jobs for GitHub, GitLab and Jenkins: the whole history, least rights, one delivery at a time, and only
commands, options and variables that exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.ci.commands import PROGRAMS, calls_in, every, objection, options_of, variables_of
from tests.ci.manifests import TOP

if TYPE_CHECKING:
    from collections.abc import Callable

WORKFLOW = TOP / "ci/github/dags.yml"
ACTION = TOP / "ci/github/ship/action.yml"
GITLAB = TOP / "ci/gitlab/ship.yml"
JENKINS = TOP / "ci/jenkins/Jenkinsfile"


def workflow() -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return found


def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    return found


def steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [step for job in workflow()["jobs"].values() for step in job["steps"]]
    return found + list(action()["runs"]["steps"])


def test_workflow_ships_the_whole_history_with_least_rights() -> None:
    found = workflow()
    assert found[True] == {"push": {"branches": ["main"]}, "pull_request": None}  # YAML 1.1 reads `on` as true
    ship = found["jobs"]["ship"]
    assert ship["if"] == "github.event_name == 'push'"
    assert found["permissions"] == {"contents": "read"}
    assert ship["permissions"] == {"contents": "read", "id-token": "write"}
    assert ship["concurrency"]["cancel-in-progress"] is False
    checkout = ship["steps"][0]
    assert checkout["with"]["fetch-depth"] == 0
    assert checkout["with"]["persist-credentials"] is False


def test_steps_of_others_are_pinned_and_nothing_foreign_is_pasted_into_a_shell() -> None:
    for step in steps():
        uses = step.get("uses", "./")
        assert re.fullmatch(r"\./.*|[a-z/-]+@[0-9a-f]{40}", uses), "pinned by commit"
        assert "${{" not in step.get("run", ""), "what others may set reaches a shell by the environment only"


def test_workflow_uses_the_action_and_gives_what_it_takes() -> None:
    (use,) = (step for step in workflow()["jobs"]["ship"]["steps"] if step.get("uses", "").startswith("./"))
    assert use["uses"] == "./.github/actions/ship"
    inputs = action()["inputs"]
    assert {name for name, one in inputs.items() if one.get("required")} <= set(use["with"]) <= set(inputs)
    said = "\n".join(str(step) for step in action()["runs"]["steps"])
    assert set(re.findall(r"inputs\.([a-z-]+)", said)) == set(inputs)


def test_job_for_pull_requests_gets_no_secret_and_no_store() -> None:
    job = workflow()["jobs"]["lint"]
    assert job["if"] == "github.event_name == 'pull_request'"
    assert "permissions" not in job
    assert "self-hosted" not in str(job["runs-on"])
    assert not re.search(r"secrets\.|DAGFERRY_(STORE|AGENTS|TOKEN)", str(job))
    assert job["steps"][0]["with"]["persist-credentials"] is False


def test_gitlab_job_has_the_whole_history_an_identity_and_no_other_beside_it() -> None:
    job = yaml.safe_load(GITLAB.read_text(encoding="utf-8"))["ship"]
    assert job["variables"]["GIT_DEPTH"] == "0"
    assert job["resource_group"]
    assert job["interruptible"] is False
    assert job["retry"]["exit_codes"] == 4
    assert "AWS_TOKEN" in job["id_tokens"]
    (rule,) = job["rules"]
    assert "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in rule["if"]


def test_jenkins_job_has_the_whole_history_and_no_other_beside_it() -> None:
    text = JENKINS.read_text(encoding="utf-8")
    assert "shallow: false, noTags: false" in text
    assert "disableConcurrentBuilds(abortPrevious: false)" in text
    assert "withCredentials([file(" in text
    assert text.count("{") == text.count("}")


def github_lines() -> tuple[list[str], set[str]]:
    names = {name for step in steps() for name in step.get("env", {})}
    return [line for step in steps() for line in step.get("run", "").splitlines()], names


def gitlab_lines() -> tuple[list[str], set[str]]:
    job = yaml.safe_load(GITLAB.read_text(encoding="utf-8"))["ship"]
    return list(job["script"]), set(re.findall(r"\bDAGFERRY_\w+", GITLAB.read_text(encoding="utf-8")))


def jenkins_lines() -> tuple[list[str], set[str]]:
    text = JENKINS.read_text(encoding="utf-8")
    return re.findall(r"sh '(.+)'", text), set(re.findall(r"\bDAGFERRY_\w+", text))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(github_lines, ["lint", "ship"]), (gitlab_lines, ["ship"]), (jenkins_lines, ["ship"])],
    ids=["github", "gitlab", "jenkins"],
)
def test_commands_options_and_variables_exist_and_no_channel_is_missing(
    lines: Callable[[], tuple[list[str], set[str]]], expected: list[str]
) -> None:
    found, names = lines()
    calls = [call for line in found for call in calls_in(line)]
    assert [call[1] for call in calls] == expected
    assert [objection(call) for call in calls] == [None] * len(calls)
    given = {name for name in names if name.startswith("DAGFERRY_")}
    assert given
    assert given <= variables_of("dagferry")
    assert "DAGFERRY_CHANNEL" in given or "--channel" in calls[-1]
    options = set(re.findall(r"(?<=[ (])--[a-z-]+", "\n".join(found))) - {"--global", "--add", "--quiet", "--format"}
    assert options <= options_of(dict(every(PROGRAMS["dagferry"], "dagferry"))["dagferry ship"])
    assert "DAGFERRY_TOKEN_FILE" in given or "--token-file" in options
