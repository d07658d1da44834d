"""What programs of others say of the manifests: kustomize, Kubernetes' schemas, helm, promtool, nginx, and the linters
of Dockerfiles and of CI jobs, from the folder of ``ci/manifest-tools-env``; and the images' steps, in a clean
environment.

Helm's part needs the chart, which no package registry has: `DAGFERRY_AIRFLOW_CHARTS` names a folder with one unpacked
chart, or several, each without its dependency on PostgreSQL.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
import trustme
import yaml

from tests.ci.manifests import (
    BASE,
    DOCKERFILES,
    KUBERNETES,
    PATCHED,
    TOP,
    VALUES,
    Document,
    Pod,
    documents,
    from_documents,
    settings,
)
from tests.ci.test_jobs import ACTION, GITLAB, WORKFLOW
from tests.e2e.harness import Agent, Operator, Repository
from tests.e2e.harness import Pod as Disk
from tests.storage.processes import free_port, listens, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.manifests
TOOLS = "DAGFERRY_MANIFEST_TOOLS"
CHARTS = "DAGFERRY_AIRFLOW_CHARTS"
KUBERNETES_VERSIONS = ["1.29", "1.37"]
KNOWN_OTHERWISE = {"PodMonitor", "PrometheusRule"}
"""Kinds that Prometheus' operator brings along: its own models judge them."""


def tool(name: str) -> str:
    folder = os.environ.get(TOOLS, "")
    program = Path(folder, "bin", name)
    assert folder, f'{TOOLS} is not set; export {TOOLS}="$(ci/manifest-tools-env)"'
    assert program.is_file(), f"there is no {program}; {TOOLS} has to be the folder that ci/manifest-tools-env prints"
    return str(program)


def said(*command: str | Path, cwd: Path | None = None, content: str | None = None) -> tuple[int, str]:
    """How a program ended, and all that it said."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, input=content, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, env={**os.environ, "HOME": str(cwd or TOP)},
    )  # fmt: skip
    return done.returncode, done.stdout


def content_with(*command: str | Path, cwd: Path | None = None, content: str | None = None) -> str:
    code, output = said(*command, cwd=cwd, content=content)
    assert code == 0, output
    return output


def kustomized(folder: str) -> list[Document]:
    return [one for one in yaml.safe_load_all(content_with(tool("kubectl"), "kustomize", KUBERNETES / folder)) if one]


def judged(found: list[Document], folder: Path, version: str) -> tuple[int, str]:
    """What Kubernetes' own schemas say, of unknown fields as well."""
    file = folder / "judged.yaml"
    file.write_text(yaml.safe_dump_all(one for one in found if one["kind"] not in KNOWN_OTHERWISE))
    return said(tool("kubernetes-validate"), "--kubernetes-version", version, "--strict", file)


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


# --- the chart


def charts() -> list[Path]:
    folder = os.environ.get(CHARTS)
    return sorted(one.parent for one in Path(folder).glob("*/Chart.yaml")) if folder else []


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_charts_take_the_values(values: Path, tmp_path: Path) -> None:
    if not charts():
        pytest.skip(f"{CHARTS} names no folder with Airflow's chart")
    rendered = 0
    for chart in charts():
        code, output = said(
            tool("helm"), "template", "airflow", chart, "--namespace", "airflow", "--values", values,
            "--set", "postgresql.enabled=false,data.metadataConnection.host=database", cwd=tmp_path,
        )  # fmt: skip
        if "only supports Apache Airflow version 3" in output and values.stem.startswith("airflow2"):
            continue
        assert code == 0, (chart, output)
        rendered += 1
        _check_rendered([one for one in yaml.safe_load_all(output) if one], values, tmp_path)
    assert rendered


def _check_rendered(found: list[Document], values: Path, folder: Path) -> None:
    wanted = {name for name, one in documents(values)[0].items() if isinstance(one, dict) and "extraVolumes" in one}
    pods: dict[str, tuple[dict[str, str], Document]] = {}
    for one in found:
        if one["kind"] in ("Deployment", "StatefulSet"):
            template = one["spec"]["template"]
            pods[template["metadata"]["labels"]["component"]] = (template["metadata"]["labels"], template["spec"])
        elif one["kind"] == "ConfigMap" and "pod_template_file.yaml" in one["data"]:
            task = yaml.safe_load(one["data"]["pod_template_file.yaml"])
            pods["task"] = (task["metadata"]["labels"], task["spec"])
    names = {"dagProcessor": "dag-processor", "workers": "task" if "kubernetes" in values.stem else "worker"}
    for component in wanted:
        labels, spec = pods[names.get(component, component)]
        assert "dagferry-pull" in [one["name"] for one in spec["initContainers"]], component
        serving = "dagferry" in [one["name"] for one in spec["containers"]]
        assert labels["dagferry.agent"] == ("sidecar" if serving else "pull")
        airflow = spec["containers"][0]
        told = {one["name"]: one.get("value") for one in airflow["env"]}
        assert told["AIRFLOW__CORE__DAGS_FOLDER"] == "/opt/dagferry/current"
        mounted = {one["mountPath"]: one.get("readOnly") for one in airflow["volumeMounts"]}
        assert mounted["/opt/dagferry"] is True
    code, output = judged(found, folder, KUBERNETES_VERSIONS[-1])
    assert code == 0, output


# --- jobs and images


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


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    assert content_with(tool("hadolint"), dockerfile) == ""


PARSE = """
import json, sys
from dockerfile_parse import DockerfileParser
print(json.dumps(DockerfileParser(fileobj=open(sys.argv[1], "rb")).structure))
"""


def steps_of(dockerfile: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with their values, in order; a step that goes over lines is one."""
    found = json.loads(content_with(tool("python"), "-c", PARSE, dockerfile))
    return [(one["instruction"], one["value"]) for one in found]


# What needs a root of its own, and is not run: it installs git with apt, in the last stage.
NOT_RUN = {"builder.Dockerfile": ["apt-get update"], "agent.Dockerfile": []}


@pytest.mark.parametrize(("name", "backend"), [("agent", "s3"), ("agent", "none"), ("builder", "gcs")])
def test_the_images_steps_make_a_program_that_starts(name: str, backend: str, tmp_path: Path) -> None:
    dockerfile = TOP / f"ci/docker/{name}.Dockerfile"
    left_out = []
    for instruction, value in steps_of(dockerfile):
        if instruction == "COPY" and not value.startswith("--"):
            *sources, target = value.split()
            for source in sources:
                _copy(TOP / source, tmp_path / target.strip("/"), whole=len(sources) == 1)
        elif instruction == "RUN" and "apt-get" in value:
            left_out.append(value[: len("apt-get update")])
        elif instruction == "RUN":
            _run_step(value, tmp_path, backend)
    assert left_out == NOT_RUN[dockerfile.name]
    (entry,) = (json.loads(value) for instruction, value in steps_of(dockerfile) if instruction == "ENTRYPOINT")
    program = tmp_path / "opt/venv/bin" / entry[0]
    assert "0.1.0" in content_with(program, "--version")
    assert not (tmp_path / "opt/venv/bin/pip").exists()
    store = {"s3": "s3://bucket/prefix", "gcs": "gs://bucket/prefix", "none": str(tmp_path / "store")}[backend]
    modules = {"s3": "boto3", "gcs": "google.cloud.storage", "none": "zstandard"}[backend]
    content_with(tmp_path / "opt/venv/bin/python", "-I", "-c", f"import {modules}; print({store!r})")
    others = {"boto3", "google.cloud.storage"} - {modules}
    for other in others:
        assert said(tmp_path / "opt/venv/bin/python", "-I", "-c", f"import {other}")[0] == 1


def test_an_unknown_backend_ends_the_build_with_a_word(tmp_path: Path) -> None:
    (step,) = (value for instruction, value in steps_of(TOP / "ci/docker/agent.Dockerfile") if instruction == "RUN")
    code, output = _step(step, tmp_path, "azure")
    assert code == 2
    assert "BACKEND is 'azure', and has to be s3, gcs or none" in output


def _copy(source: Path, target: Path, *, whole: bool) -> None:
    """As COPY does: a folder's content into the target, files into the folder."""
    if whole and source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _step(value: str, root: Path, backend: str) -> tuple[int, str]:
    """One RUN, with the paths of the image below ``root``, by a Python that is this machine's."""
    for place in ("/source", "/opt/venv"):
        value = value.replace(place, f"{root}{place}")
    clean = {"PATH": f"{Path(tool('python')).parent}:{os.defpath}", "HOME": str(root), "BACKEND": backend}
    passed = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_", "HTTP", "http"))}
    done = subprocess.run(
        ["sh", "-c", value], env={**passed, **clean}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, cwd=root,
    )  # fmt: skip
    return done.returncode, done.stdout


def _run_step(value: str, root: Path, backend: str) -> None:
    code, output = _step(value, root, backend)
    assert code == 0, output


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


# --- https


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    repository = Repository(tmp_path / "clone")
    repository.change({"dags/daily.py": "NUMBER = 1\n"})
    operator = Operator(repository.path, f"file://{tmp_path}/store").on("prod")
    operator.ship()
    found = Agent(Disk(tmp_path / "pod", f"file://{tmp_path}/store", "prod"))
    yield found
    found.process.kill()
    found.process.wait()


@pytest.fixture
def gateway(agent: Agent, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of nginx with the component's configuration, in front of an agent; and whom its certificate is from."""
    authority = trustme.CA()
    made = authority.issue_cert("localhost", "127.0.0.1")
    folder = tmp_path / "nginx"
    folder.mkdir()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    made.private_key_pem.write_to_path(folder / "tls.key")
    for part in made.cert_chain_pems:
        part.write_to_path(folder / "tls.crt", append=True)
    port = free_port()
    text = (KUBERNETES / "tls/nginx.conf").read_text(encoding="utf-8")
    placed = {
        "/etc/dagferry/tls/": f"{folder}/",
        "/tmp/": f"{folder}/",
        "listen 8443": f"listen 127.0.0.1:{port}",
        "dag-processor.dags.example.com": "localhost",
        "airflow-dag-processor:8470": agent.url.removeprefix("http://"),
        "/dev/stdout": str(folder / "access.log"),
    }
    assert [one for one in placed if one not in text] == []
    text = re.sub("|".join(map(re.escape, placed)), lambda found: placed[found[0]], text)
    (folder / "nginx.conf").write_text(text)
    nginx = [tool("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    assert "test is successful" in content_with(*nginx, "-t")
    alone = "daemon off; master_process off;"  # one process, so that none outlives its end
    with running([*nginx, "-g", alone], folder, lambda: listens(port)):
        yield port, folder


def asked(gateway: tuple[int, Path], path: str, *, host: str = "localhost", token: str = "") -> int:
    """The status that comes back to who asks for a path by https, with or without a token."""
    port, folder = gateway
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    reply = requests.get(f"https://{host}:{port}{path}", headers=headers, verify=str(folder / "ca.pem"), timeout=30)
    return reply.status_code


def test_nginx_lets_the_endpoint_through_and_nothing_else(gateway: tuple[int, Path], agent: Agent) -> None:
    agent.wait_until_ready()
    assert asked(gateway, "/v1/status", token=agent.token) == 200
    assert asked(gateway, "/v1/status") == 401
    assert asked(gateway, "/healthz") == 200
    for path in ("/metrics", "/readyz", "/openapi.json", "/v1/", "/v1/status/x", "/"):
        assert asked(gateway, path, token=agent.token) == 404, path
    assert asked(gateway, "/v1/status", host="127.0.0.1", token=agent.token) == 404  # no name that the map has
    log = (gateway[1] / "access.log").read_text()
    assert '"GET /v1/status" 200' in log
    assert agent.token not in log


def test_ci_ships_through_nginx(gateway: tuple[int, Path], agent: Agent, tmp_path: Path) -> None:
    port, folder = gateway
    operator = Operator(tmp_path / "clone", agent.pod.store_url).on("prod")
    (tmp_path / "clone/dags/daily.py").write_text("NUMBER = 2\n")
    commit = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "--quiet", "--all", "--message=two"]
    content_with("git", *commit, cwd=tmp_path / "clone")
    told = (f"--agents=https://localhost:{port}", f"--ca-file={folder}/ca.pem", f"--token-file={agent.token_file}")
    assert operator.ship("HEAD", *told)["generation"] == 2
    assert (agent.pod.current / "daily.py").read_text() == "NUMBER = 2\n"


def test_nginx_counts_guesses(gateway: tuple[int, Path], agent: Agent) -> None:
    statuses = [asked(gateway, "/v1/status") for _ in range(60)]
    assert set(statuses) == {401, 429}
    assert statuses.count(429) > 5
    assert requests.get(f"{agent.url}/healthz", timeout=10).ok
