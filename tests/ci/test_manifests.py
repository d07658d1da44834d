"""The manifests for other people's clusters follow the rules of docs/kubernetes.md, and name options, variables,
metrics and paths that exist. What programs of others say of them is in test_manifest_tools.py."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from tests.ci.commands import PROGRAMS, objection, variables_of
from tests.ci.manifests import (
    BASE,
    CHARTED,
    DOCKERFILES,
    KUBERNETES,
    PATCHED,
    PODS,
    TASK,
    TOP,
    VALUES,
    Pod,
    documents,
    keys,
)

if TYPE_CHECKING:
    from pathlib import Path

EVERY = sorted(KUBERNETES.rglob("*.yaml"))
NAMES = [pod.name for pod in PODS]
each_pod = pytest.mark.parametrize("pod", PODS, ids=NAMES)
TASKS = [pod for pod in PODS if pod.labels["dagferry.agent"] == "pull"]
SERVED = [pod for pod in PODS if pod.labels["dagferry.agent"] == "sidecar"]


def call(container: dict[str, Any]) -> list[str]:
    """The call of our program in a container's command, without what limits its time."""
    command: list[str] = container["command"]
    return command[command.index("dagferry-agent") :]


def test_every_component_that_imports_dag_files_is_there() -> None:
    """A guard: the tests below must not be left with nothing to look at."""
    found = {path.stem: [pod.name.removeprefix(f"{path.stem}-") for pod in CHARTED if path.stem in pod.name]
             for path in VALUES}  # fmt: skip
    assert found == {
        "airflow2-celery": ["scheduler", "triggerer", "workers"],
        "airflow2-kubernetes": ["scheduler", "triggerer", "workers"],
        "airflow2-local": ["scheduler", "triggerer"],
        "airflow3-celery": ["dagProcessor", "triggerer", "workers"],
        "airflow3-kubernetes": ["dagProcessor", "triggerer", "workers"],
        "airflow3-local": ["dagProcessor", "scheduler", "triggerer"],
    }
    assert [pod.name for pod in PATCHED] == [
        f"airflow-{one}" for one in ("dag-processor", "scheduler", "triggerer", "worker")
    ]
    assert [pod.name for pod in TASKS] == ["airflow-task", "airflow2-kubernetes-workers", "airflow3-kubernetes-workers"]


def test_volumes_are_mounted_whole() -> None:
    for path in (*EVERY, *VALUES):
        assert not {"subPath", "subPathExpr"} & set(keys(documents(path))), path


@each_pod
def test_every_mount_names_a_volume_of_the_pod_and_none_is_left(pod: Pod) -> None:
    volumes = {volume["name"] for volume in pod.spec["volumes"]}
    assert {mount["name"] for one in pod.containers.values() for mount in one["volumeMounts"]} == volumes


@pytest.mark.parametrize("pod", SERVED, ids=[pod.name for pod in SERVED])
def test_init_container_pulls_before_airflow_starts_and_sidecar_serves(pod: Pod) -> None:
    assert [call(one)[1] for one in pod.agents.values()] == ["pull", "serve"]
    assert [one["name"] for one in pod.spec["initContainers"]] == ["dagferry-pull"]
    init, serving = pod.agents.values()
    assert pod.told(init) == pod.told(serving)


@pytest.mark.parametrize("pod", TASKS, ids=[pod.name for pod in TASKS])
def test_a_tasks_pod_has_nothing_that_outlives_its_task(pod: Pod) -> None:
    (init,) = pod.spec["initContainers"]
    assert "restartPolicy" not in init
    assert call(init)[1:] == ["pull"]
    assert init["command"][0] == "timeout"
    assert int(init["command"][1]) > 0
    assert list(pod.airflow) == [one["name"] for one in pod.spec["containers"]]


@each_pod
def test_agents_options_exist_and_none_is_missing(pod: Pod) -> None:
    for container in pod.agents.values():
        assert objection(call(container)) is None
        given = set(pod.told(container))
        assert given <= variables_of("dagferry-agent")
        command = PROGRAMS["dagferry-agent"].commands[call(container)[1]]
        required = {str(one.envvar) for one in command.params if isinstance(one, click.Option) and one.required}
        assert required <= given


@each_pod
def test_only_agents_write_to_the_releases_and_airflow_reads_through_the_link(pod: Pod) -> None:
    roots = {pod.told(one)["DAGFERRY_AGENT_ROOT"] for one in pod.agents.values()}
    assert len(roots) == 1
    (volume,) = {
        mount["name"] for one in pod.agents.values() for mount in one["volumeMounts"] if mount["mountPath"] in roots
    }
    for name, one in pod.containers.items():
        (mount,) = (mount for mount in one["volumeMounts"] if mount["name"] == volume)
        assert mount.get("readOnly", False) is (name not in pod.agents), name
        if name in pod.airflow:
            folder = pod.dags_folder or pod.told(one)["AIRFLOW__CORE__DAGS_FOLDER"]
            assert folder == f"{mount['mountPath']}/current"


@pytest.mark.parametrize("pod", SERVED, ids=[pod.name for pod in SERVED])
def test_tokens_and_keys_are_folders_of_their_own(pod: Pod) -> None:
    serving = pod.agents["dagferry"]
    file = call(serving)[call(serving).index("--tokens-file") + 1]
    (mount,) = (one for one in serving["volumeMounts"] if file.startswith(one["mountPath"] + "/"))
    (volume,) = (one for one in pod.spec["volumes"] if one["name"] == mount["name"])
    assert volume["secret"] == {"secretName": "dagferry-tokens", "optional": True}
    page = (TOP / "docs/kubernetes.md").read_text(encoding="utf-8")
    made = re.findall(r"create secret generic (\S+) --from-file=(\S+)", page)
    assert made == [("dagferry-tokens", file.removeprefix(mount["mountPath"] + "/"))]


def test_keyring_is_where_the_component_says() -> None:
    (component,) = documents(KUBERNETES / "keyring/kustomization.yaml")
    (patch,) = component["patches"]
    folder = yaml.safe_load(patch["patch"])["data"]["DAGFERRY_AGENT_KEYRING"]
    for pod in PODS:
        (volume,) = (one for one in pod.spec["volumes"] if one["name"] == "dagferry-keyring")
        assert volume["configMap"] == {"name": "dagferry-keyring", "optional": True}
        for one in pod.agents.values():
            mounted = {mount["mountPath"]: mount for mount in one["volumeMounts"]}
            assert (mounted[folder]["name"], mounted[folder]["readOnly"]) == ("dagferry-keyring", True), pod.name
    for path in VALUES:
        lines = path.read_text(encoding="utf-8").splitlines()
        (named,) = (number for number, line in enumerate(lines) if "DAGFERRY_AGENT_KEYRING" in line)
        assert lines[named + 1].split()[-1] == folder, path


@pytest.mark.parametrize("pod", SERVED, ids=[pod.name for pod in SERVED])
def test_probes_ask_paths_of_the_app_that_need_no_token(pod: Pod) -> None:
    app = (TOP / "agent/dagferry_agent/app.py").read_text(encoding="utf-8")
    routes = dict(re.findall(r'_route\("(/[^"]*)", "([A-Z]+)"', app))
    serving = pod.agents["dagferry"]
    probes = {name: serving[name]["httpGet"] for name in ("livenessProbe", "readinessProbe")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert all(routes[probe["path"]] == "GET" for probe in probes.values())
    assert {probe["port"] for probe in probes.values()} == {one["name"] for one in serving["ports"]}


@pytest.mark.parametrize("pod", SERVED, ids=[pod.name for pod in SERVED])
def test_agent_listens_where_probes_service_and_monitor_look(pod: Pod) -> None:
    serving = pod.agents["dagferry"]
    host, port = call(serving)[call(serving).index("--listen") + 1].split(":")
    assert host == "0.0.0.0"
    assert serving["ports"] == [{"name": "dagferry", "containerPort": int(port)}]
    (service,) = documents(BASE / "service.yaml")
    assert service["spec"]["ports"] == [{"name": "dagferry", "port": int(port), "targetPort": "dagferry"}]
    (monitor,) = documents(KUBERNETES / "monitoring/pod-monitor.yaml")
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] == "dagferry"


def test_policies_and_monitor_select_the_pods_by_their_labels() -> None:
    labels = {pod.labels["dagferry.agent"] for pod in PODS}
    for path in (BASE / "network-policy.yaml", KUBERNETES / "egress/network-policy.yaml"):
        (policy,) = documents(path)
        (expression,) = policy["spec"]["podSelector"]["matchExpressions"]
        assert (expression["key"], set(expression["values"])) == ("dagferry.agent", labels)
    (monitor,) = documents(KUBERNETES / "monitoring/pod-monitor.yaml")
    assert monitor["spec"]["selector"]["matchLabels"] == {"dagferry.agent": "sidecar"}
    (gateway,) = (one for one in documents(KUBERNETES / "tls/gateway.yaml") if one["kind"] == "Deployment")
    (policy,) = documents(BASE / "network-policy.yaml")
    client = policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    assert client.items() <= gateway["spec"]["template"]["metadata"]["labels"].items()


def restricted(spec: dict[str, Any]) -> None:
    """The fields that the Pod Security Standard "restricted" asks for, wherever one has them: pod or container."""
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    forbidden = {"hostNetwork", "hostPID", "hostIPC", "hostPath", "hostPort", "privileged", "procMount", "add"}
    assert not forbidden & set(keys(spec))
    for one in (*spec.get("initContainers", []), *spec["containers"]):
        rights = one["securityContext"]
        assert rights["allowPrivilegeEscalation"] is False, one["name"]
        assert rights["capabilities"] == {"drop": ["ALL"]}, one["name"]
        assert rights.get("runAsUser", spec["securityContext"].get("runAsUser", 0)) > 0, one["name"]
        assert rights.get("runAsNonRoot", True), one["name"]


@each_pod
def test_pod_is_restricted(pod: Pod) -> None:
    restricted(pod.spec)
    for name, one in pod.agents.items():
        assert one["securityContext"]["readOnlyRootFilesystem"] is True, name


@pytest.mark.parametrize("pod", [*PATCHED, TASK], ids=lambda pod: pod.name)
def test_no_container_of_ours_writes_to_its_image_or_speaks_to_kubernetes(pod: Pod) -> None:
    assert pod.spec["automountServiceAccountToken"] is False
    for name, one in pod.containers.items():
        assert one["securityContext"]["readOnlyRootFilesystem"] is True, name


def test_gateway_is_restricted_and_the_namespace_insists() -> None:
    (gateway,) = (one for one in documents(KUBERNETES / "tls/gateway.yaml") if one["kind"] == "Deployment")
    spec = gateway["spec"]["template"]["spec"]
    restricted(spec)
    assert all(one["securityContext"]["readOnlyRootFilesystem"] is True for one in spec["containers"])
    (namespace,) = documents(BASE / "namespace.yaml")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_all_agents_are_one_image_and_one_user() -> None:
    agents = [one for pod in PODS for one in pod.agents.values()]
    assert {one["image"] for one in agents} == {"registry.example/dagferry-agent:0.1.0"}
    users = {(one["securityContext"]["runAsUser"], one["securityContext"]["runAsGroup"]) for one in agents}
    assert len(users) == 1
    for dockerfile in DOCKERFILES:
        said = re.findall(r"^USER (\d+):(\d+)$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
        assert {(int(user), int(group)) for user, group in said} == users, dockerfile
    (group,) = {group for _, group in users}
    assert {pod.spec["securityContext"]["fsGroup"] for pod in (*PATCHED, TASK)} == {group}


def test_no_file_of_the_base_and_its_components_is_forgotten() -> None:
    for path in KUBERNETES.rglob("kustomization.yaml"):
        (found,) = documents(path)
        generated = [file for one in found.get("configMapGenerator", []) for file in one["files"]]
        patches = [one["path"] for one in found.get("patches", []) if "path" in one]
        named = {*found.get("resources", []), *generated, *patches}
        there = {one.name for one in path.parent.iterdir()} - {path.name}
        assert {one for one in named if not one.startswith("../")} == there, path
    (example,) = documents(KUBERNETES / "example/kustomization.yaml")
    commented = re.findall(r"# - (\.\./\S+)", (KUBERNETES / "example/kustomization.yaml").read_text(encoding="utf-8"))
    folders = {f"../{one.parent.name}" for one in KUBERNETES.rglob("kustomization.yaml")} - {"../example"}
    assert {*example["resources"], *example["components"], *commented} == folders


def test_values_differ_in_what_their_airflow_needs_and_in_nothing_else() -> None:
    for part in ("extraInitContainers", "extraContainers", "extraVolumes", "extraVolumeMounts"):
        said = {
            json.dumps(added[part])
            for path in VALUES
            for values in documents(path)
            for added in values.values()
            if isinstance(added, dict) and part in added and added["labels"]["dagferry.agent"] == "sidecar"
        }
        assert len(said) == 1, part
    for path in VALUES:
        (values,) = documents(path)
        assert values["dags"]["gitSync"]["enabled"] is False
        assert values["executor"].lower() == path.stem.split("-")[1] + "executor"
        assert path.stem == f"airflow{values['airflowVersion'][0]}-{path.stem.split('-')[1]}"
        assert values["airflowVersion"] == values["defaultAirflowTag"]


# --- alerts


def alerts() -> dict[str, dict[str, Any]]:
    (found,) = documents(KUBERNETES / "monitoring/rules.yaml")
    rules = [rule for group in found["spec"]["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


def test_alerts_ask_for_metrics_that_exist() -> None:
    page = (TOP / "docs/metrics.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^\| (`dagferry_.*?) \|", page, re.MULTILINE))
    metrics = {name for cell in known for name in re.findall(r"`(\w+)`", cell)}
    text = (KUBERNETES / "monitoring/rules.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\bdagferry_\w+", text))
    assert len(asked) > 5
    assert asked <= metrics


def test_alerts_on_the_page_are_those_of_the_file() -> None:
    page = (TOP / "docs/metrics.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(groups:.*?)```", page, re.DOTALL)
    (group,) = yaml.safe_load(block)["groups"]
    for rule in group["rules"]:
        said = {key: value for key, value in alerts()[rule["alert"]].items() if key != "labels"}
        assert said == rule


# --- images and buckets


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_what_an_image_is_built_from_reaches_the_build_and_nothing_else_does(dockerfile: Path) -> None:
    ignored = (TOP / ".dockerignore").read_text(encoding="utf-8")
    lines = [line for line in ignored.splitlines() if line[:1] not in ("", "#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    text = dockerfile.read_text(encoding="utf-8")
    copied = {word for line in re.findall(r"^COPY (?!--)(.+)$", text, re.MULTILINE) for word in line.split()[:-1]}
    assert {one.split("/")[0] for one in let_in} == copied
    assert all((TOP / one).exists() for one in let_in)
    assert "ADD " not in text
    assert not re.search(r"(?i)password|secret|token", re.sub(r"^#.*$", "", text, flags=re.MULTILINE))


def test_lifecycle_rules_abort_uploads_after_a_day_and_delete_nothing() -> None:
    s3 = json.loads((TOP / "ci/lifecycle/s3.json").read_text(encoding="utf-8"))
    for rule in s3["Rules"]:
        assert set(rule) == {"ID", "Status", "Filter", "AbortIncompleteMultipartUpload"}
        assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
        assert rule["Filter"] == {"Prefix": "PREFIX/"}
    gcs = json.loads((TOP / "ci/lifecycle/gcs.json").read_text(encoding="utf-8"))
    for rule in gcs["lifecycle"]["rule"]:
        assert rule["action"] == {"type": "AbortIncompleteMultipartUpload"}
        assert rule["condition"] == {"age": 1, "matchesPrefix": ["PREFIX/"]}
    assert s3["Rules"]
    assert gcs["lifecycle"]["rule"]
