"""The templates for other people's clusters and CI are YAML, follow the rules of docs/kubernetes.md, and name options,
variables and paths that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from tests.ci.commands import PROGRAMS, calls_in, objection, variables_of

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[2]
SIDECAR = TOP / "ci/kubernetes/sidecar.yaml"
WORKFLOW = TOP / "ci/github/dags.yml"


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(SIDECAR.read_text(encoding="utf-8")))


def pod() -> dict[str, Any]:
    (deployment,) = (one for one in documents() if one["kind"] == "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def containers() -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in (*pod()["initContainers"], *pod()["containers"])}


def agents() -> dict[str, dict[str, Any]]:
    return {name: one for name, one in containers().items() if one.get("command", [""])[0] == "dagferry-agent"}


def keys(document: object) -> Iterator[str]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield str(key)
            yield from keys(value)
    elif isinstance(document, list):
        for value in document:
            yield from keys(value)


def test_volumes_are_mounted_whole() -> None:
    assert not {"subPath", "subPathExpr"} & set(keys(documents()))


def test_every_mount_names_a_volume_of_the_pod() -> None:
    volumes = {volume["name"] for volume in pod()["volumes"]}
    mounted = {mount["name"] for one in containers().values() for mount in one["volumeMounts"]}
    assert mounted == volumes


def test_init_container_pulls_and_sidecar_serves() -> None:
    assert [one["command"][1] for one in agents().values()] == ["pull", "serve"]
    assert list(agents()) == [pod()["initContainers"][0]["name"], pod()["containers"][0]["name"]]


@pytest.mark.parametrize("name", ["dagferry-pull", "dagferry"])
def test_agents_options_exist_and_none_is_missing(name: str) -> None:
    container = agents()[name]
    assert objection(container["command"]) is None
    given = {one["name"] for one in container["env"]}
    assert given <= variables_of("dagferry-agent")
    command = PROGRAMS["dagferry-agent"].commands[container["command"][1]]
    required = {str(one.envvar) for one in command.params if isinstance(one, click.Option) and one.required}
    assert required <= given


def test_both_agents_are_told_the_same() -> None:
    init, serving = agents().values()
    assert init["env"] == serving["env"]
    assert init["image"] == serving["image"]


def test_only_agents_write_to_the_releases() -> None:
    for name, one in containers().items():
        for mount in one["volumeMounts"]:
            if mount["name"] == "dags":
                assert mount.get("readOnly", False) is (name not in agents()), name


def test_store_is_mounted_read_only() -> None:
    mounts = [mount for one in containers().values() for mount in one["volumeMounts"] if mount["name"] == "store"]
    assert mounts
    assert all(mount["readOnly"] for mount in mounts)


def test_airflow_reads_through_the_link() -> None:
    airflow = containers()["dag-processor"]
    (mount,) = (mount["mountPath"] for mount in airflow["volumeMounts"] if mount["name"] == "dags")
    variables = {one["name"]: one["value"] for one in airflow["env"]}
    assert variables["AIRFLOW__CORE__DAGS_FOLDER"] == f"{mount}/current"


def test_tokens_file_is_a_key_of_the_mounted_secret() -> None:
    serving = agents()["dagferry"]
    (mount,) = (mount["mountPath"] for mount in serving["volumeMounts"] if mount["name"] == "tokens")
    (secret,) = (one for one in documents() if one["kind"] == "Secret")
    file = serving["command"][serving["command"].index("--tokens-file") + 1]
    assert file in {f"{mount}/{key}" for key in secret["stringData"]}
    (volume,) = (one for one in pod()["volumes"] if one["name"] == "tokens")
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]


def test_probes_ask_paths_of_the_app_that_need_no_token() -> None:
    app = (TOP / "agent/dagferry_agent/app.py").read_text(encoding="utf-8")
    routes = dict(re.findall(r'_route\("(/[^"]*)", "([A-Z]+)"', app))
    serving = agents()["dagferry"]
    probes = {name: serving[name]["httpGet"] for name in ("livenessProbe", "readinessProbe")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert all(routes[probe["path"]] == "GET" for probe in probes.values())
    assert {probe["port"] for probe in probes.values()} == {one["name"] for one in serving["ports"]}


def test_agent_listens_where_probes_and_service_look() -> None:
    serving = agents()["dagferry"]
    host, port = serving["command"][serving["command"].index("--listen") + 1].split(":")
    assert host == "0.0.0.0"
    assert int(port) == serving["ports"][0]["containerPort"]
    (service,) = (one for one in documents() if one["kind"] == "Service")
    assert service["spec"]["ports"][0]["targetPort"] == serving["ports"][0]["name"]


def test_pod_is_restricted() -> None:
    """The fields that the Pod Security Standard "restricted" asks for."""
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod()["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostPath", "hostPort", "privileged", "procMount"} & set(
        keys(documents())
    )
    for name, one in containers().items():
        rights = one["securityContext"]
        assert rights["allowPrivilegeEscalation"] is False, name
        assert rights["capabilities"] == {"drop": ["ALL"]}, name
        assert rights["runAsUser"] > 0, name
    for name, one in agents().items():
        assert one["securityContext"]["readOnlyRootFilesystem"] is True, name


def test_workflow_ships_the_whole_history_with_least_rights() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert workflow[True] == {"push": {"branches": ["main"]}, "pull_request": None}  # YAML 1.1 reads `on` as true
    assert workflow["jobs"]["ship"]["if"] == "github.event_name == 'push'"
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["ship"]["concurrency"]["cancel-in-progress"] is False
    steps = workflow["jobs"]["ship"]["steps"]
    assert steps[0]["with"]["fetch-depth"] == 0
    assert steps[0]["with"]["persist-credentials"] is False
    for step in (one for job in workflow["jobs"].values() for one in job["steps"]):
        assert re.fullmatch(r"[a-z/-]+@[0-9a-f]{40}", step.get("uses", "a@" + "0" * 40)), "pinned by commit"
        assert "${{" not in step.get("run", ""), "what others may set reaches a shell by the environment only"


def test_job_for_pull_requests_gets_no_secret_and_no_store() -> None:
    job = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["lint"]
    assert job["if"] == "github.event_name == 'pull_request'"
    assert "self-hosted" not in str(job["runs-on"])
    assert not re.search(r"secrets\.|DAGFERRY_(STORE|AGENTS|TOKEN)", str(job))
    assert job["steps"][0]["with"]["persist-credentials"] is False


def test_workflow_calls_commands_and_options_that_exist() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    calls = [call for step in steps for line in step.get("run", "").splitlines() for call in calls_in(line)]
    assert [call[:2] for call in calls] == [["dagferry", "lint"], ["dagferry", "ship"]]
    assert [objection(call) for call in calls] == [None, None]
    given = {name for step in steps for name in step.get("env", {}) if name.startswith("DAGFERRY_")}
    assert given
    assert given <= variables_of("dagferry")
