"""What programs of others say of the manifests: kustomize, Kubernetes' schemas, promtool, the linters of CI jobs."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.ci.manifests import BASE, KUBERNETES, PATCHED, TOP, Document, Pod, documents, from_documents, settings
from tests.ci.test_jobs import ACTION, GITLAB, WORKFLOW
from tests.ci.tools import KNOWN_OTHERWISE, KUBERNETES_VERSIONS, content_with, judged, said, tool

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.manifests


def kustomized(folder: str | Path) -> list[Document]:
    return [one for one in yaml.safe_load_all(content_with(tool("kubectl"), "kustomize", KUBERNETES / folder)) if one]


# --- Kubernetes


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("folder", ["base", "example"])
def test_what_kustomize_makes_is_valid(folder: str, version: str, tmp_path: Path) -> None:
    found = kustomized(folder)
    assert {"Namespace", "ConfigMap", "Service", "Deployment", "NetworkPolicy"} <= {one["kind"] for one in found}
    assert {one["metadata"].get("namespace", "airflow") for one in found} == {"airflow"}
    code, output = judged(found, tmp_path, version)
    assert code == 0, output


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_pod_template_is_valid(version: str, tmp_path: Path) -> None:
    code, output = judged(documents(BASE / "pod_template.yaml"), tmp_path, version)
    assert code == 0, output


@pytest.mark.parametrize("field", ["readOnlyRootFileSystem", "runAsUsr"])
def test_a_field_that_is_misspelt_is_found(field: str, tmp_path: Path) -> None:
    """A guard: the two tests above must be able to fail."""
    (pod,) = documents(BASE / "pod_template.yaml")
    pod["spec"]["containers"][0]["securityContext"][field] = True
    code, output = judged([pod], tmp_path, KUBERNETES_VERSIONS[-1])
    assert code != 0
    assert field in output


def comparable(pod: Pod) -> dict[str, object]:
    """A pod without the order of what has names."""
    parts = {part: {one["name"]: one for one in pod.spec[part]} for part in ("volumes", "containers", "initContainers")}
    for one in (*parts["containers"].values(), *parts["initContainers"].values()):
        one["volumeMounts"] = sorted(one["volumeMounts"], key=lambda mount: str(mount["mountPath"]))
    return {**pod.spec, **parts, "labels": pod.labels}


def test_kustomize_lays_the_patch_as_the_other_tests_take_it() -> None:
    rendered = {pod.name: comparable(pod) for pod in from_documents(kustomized("base"), settings())}
    assert rendered == {pod.name: comparable(pod) for pod in PATCHED}


def test_the_example_changes_what_it_says() -> None:
    found = {(one["kind"], one["metadata"]["name"]): one for one in kustomized("example")}
    told = found["ConfigMap", "dagferry-agent"]["data"]
    assert told["DAGFERRY_AGENT_STORE"] == "s3://my-bucket/team/dags?region=eu-west-3"
    assert told["DAGFERRY_AGENT_KEYRING"] == "/etc/dagferry/keyring"
    assert told["DAGFERRY_AGENT_ROOT"] == settings()["DAGFERRY_AGENT_ROOT"]
    assert found["ConfigMap", "airflow-pod-template"]["data"]["pod_template.yaml"] == (
        BASE / "pod_template.yaml"
    ).read_text(encoding="utf-8")


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """A folder that names the base by its path, as kustomize wants it."""
    folder = tmp_path / "overlay"
    folder.mkdir()
    found = {"resources": [os.path.relpath(BASE, folder)]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(found))
    return folder


def add(overlay: Path, part: str, name: str) -> None:
    file = overlay / "kustomization.yaml"
    (found,) = documents(file)
    found.setdefault(part, []).append(name)
    file.write_text(yaml.safe_dump(found))


@pytest.mark.parametrize("component", ["egress", "keyring", "monitoring", "store-volume", "tls"])
def test_each_component_is_valid_alone(component: str, overlay: Path, tmp_path: Path) -> None:
    before = kustomized(overlay)
    add(overlay, "components", os.path.relpath(KUBERNETES / component, overlay))
    found = kustomized(overlay)
    assert found != before
    code, output = judged(found, tmp_path, KUBERNETES_VERSIONS[-1])
    assert code == 0, output


def test_a_store_on_a_volume_is_read_only_and_where_the_agents_are_told(overlay: Path) -> None:
    add(overlay, "components", os.path.relpath(KUBERNETES / "store-volume", overlay))
    found = kustomized(overlay)
    (told,) = (one["data"] for one in found if one["metadata"]["name"] == "dagferry-agent" and "data" in one)
    for pod in from_documents(found, told):
        for agent in pod.agents.values():
            mounts = {one["mountPath"]: one for one in agent["volumeMounts"]}
            assert mounts[told["DAGFERRY_AGENT_STORE"]]["readOnly"] is True
            assert told["DAGFERRY_AGENT_ROOT"] in mounts


def test_a_statefulset_is_patched_alike(overlay: Path, tmp_path: Path) -> None:
    (deployment, *_) = documents(BASE / "airflow.yaml")
    spec = deployment["spec"] | {"serviceName": "dags"}
    own = {**deployment, "kind": "StatefulSet", "metadata": {**deployment["metadata"], "name": "own"}, "spec": spec}
    (overlay / "own.yaml").write_text(yaml.safe_dump(own))
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))
    patch = kustomization["patches"][0]
    (overlay / "agent.yaml").write_text((BASE / patch["path"]).read_text(encoding="utf-8"))
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["own.yaml"], "patches": [patch]}))
    found = kustomized(overlay)
    (patched,) = found
    containers = patched["spec"]["template"]["spec"]
    assert [one["name"] for one in containers["initContainers"]] == ["dagferry-pull"]
    assert [one["name"] for one in containers["containers"]] == ["dagferry", "dag-processor"]
    code, output = judged(found, tmp_path, KUBERNETES_VERSIONS[-1])
    assert code == 0, output


MODELS = """
import json, sys
from cloudcoil.models.prometheus_operator import v1
for document in json.load(sys.stdin):
    model = getattr(v1, document["kind"]).model_validate(document)
    made = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if made != document:
        sys.exit(f"not all of it is known: {json.dumps(made)} of {json.dumps(document)}")
"""


@pytest.mark.parametrize(("key", "code"), [(None, 0), ("prot", 1)])
def test_what_prometheus_operator_takes_is_valid_and_a_misspelt_field_is_not(key: str | None, code: int) -> None:
    found = [*documents(KUBERNETES / "monitoring/pod-monitor.yaml"), *documents(KUBERNETES / "monitoring/rules.yaml")]
    assert {one["kind"] for one in found} == KNOWN_OTHERWISE
    if key:
        found[0]["spec"]["podMetricsEndpoints"][0][key] = "dagferry"
    ended, output = said(tool("python"), "-c", MODELS, content=json.dumps(found))
    assert ended == code, output


# --- jobs


def test_jobs_are_what_github_and_gitlab_take(tmp_path: Path) -> None:
    for schema, file in (("github-workflows", WORKFLOW), ("github-actions", ACTION), ("gitlab-ci", GITLAB)):
        content_with(tool("check-jsonschema"), "--builtin-schema", f"vendor.{schema}", file)
    (tmp_path / ".github/workflows").mkdir(parents=True)
    (tmp_path / ".github/actions").mkdir()
    (tmp_path / ".git").mkdir()
    shutil.copy(WORKFLOW, tmp_path / ".github/workflows")
    shutil.copytree(ACTION.parent, tmp_path / ".github/actions/ship")
    content_with(tool("actionlint"), cwd=tmp_path)
    action = tmp_path / ".github/actions/ship/action.yml"
    action.write_text(action.read_text().replace("  channel:", "  chanel:", 1))
    code, output = said(tool("actionlint"), cwd=tmp_path)
    assert code == 1
    assert '"chanel"' in output


# --- alerts


def test_the_alerts_are_rules_and_are_raised_by_what_they_are_for(tmp_path: Path) -> None:
    (found,) = documents(KUBERNETES / "monitoring/rules.yaml")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(found["spec"]))
    shutil.copy(TOP / "tests/ci/alerts.yaml", tmp_path)
    content_with(tool("promtool"), "check", "rules", "rules.yaml", cwd=tmp_path)
    content_with(tool("promtool"), "test", "rules", "alerts.yaml", cwd=tmp_path)
    tried = {one["alertname"] for test in documents(TOP / "tests/ci/alerts.yaml")[0]["tests"]
             for one in test["alert_rule_test"] if one["exp_alerts"]}  # fmt: skip
    assert tried == {rule["alert"] for group in found["spec"]["groups"] for rule in group["rules"] if "alert" in rule}
