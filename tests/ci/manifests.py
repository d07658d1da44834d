"""The manifests of ci/ as the tests see them: Kubernetes documents, their pods, and the pods' containers.

A pod here is what a manifest makes of one: volumes, init containers and containers, under a name that says where it is
from. `PODS` has all of them that bring DAGs, from the kustomize base and from the values for the Helm chart. The base's
patch is laid over a Deployment as far as it is used here: lists of named things are joined. What kustomize itself makes
of it is looked at where kustomize is at hand, with the marker `manifests`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[2]
KUBERNETES = TOP / "ci/kubernetes"
BASE = KUBERNETES / "base"
VALUES = sorted((TOP / "ci/helm").glob("*.yaml"))
DOCKERFILES = sorted((TOP / "ci/docker").glob("*.Dockerfile"))

Document = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """One pod that has an agent, and what its pods' containers get from the ConfigMap of settings."""

    name: str
    labels: dict[str, str]
    spec: Document
    settings: dict[str, str]
    dags_folder: str | None = None
    """What Airflow is told where no container says it itself: the chart's values do so in one place."""

    @property
    def containers(self) -> dict[str, Document]:
        return {one["name"]: one for one in (*self.spec["initContainers"], *self.spec["containers"])}

    @property
    def agents(self) -> dict[str, Document]:
        return {name: one for name, one in self.containers.items() if "dagferry-agent" in one.get("command", [])}

    @property
    def airflow(self) -> dict[str, Document]:
        return {name: one for name, one in self.containers.items() if name not in self.agents}

    def told(self, container: Document) -> dict[str, str]:
        """The environment of a container, as far as the manifests know it."""
        found = dict(self.settings) if "envFrom" in container and container["name"] in self.agents else {}
        named = {one["name"]: one.get("value", self.name) for one in container.get("env", [])}  # else: the pod's name
        return found | named


def documents(path: Path) -> list[Document]:
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


def keys(document: object) -> Iterator[str]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield str(key)
            yield from keys(value)
    elif isinstance(document, list):
        for value in document:
            yield from keys(value)


def settings() -> dict[str, str]:
    (found,) = documents(BASE / "settings.yaml")
    return dict(found["data"])


def from_documents(found: list[Document], told: dict[str, str]) -> Iterator[Pod]:
    """The pods of Deployments and Pods that have an agent."""
    for document in found:
        if document["kind"] == "Pod":
            yield Pod(document["metadata"]["name"], document["metadata"]["labels"], document["spec"], told)
        elif document["kind"] == "Deployment" and "initContainers" in document["spec"]["template"]["spec"]:
            template = document["spec"]["template"]
            yield Pod(document["metadata"]["name"], template["metadata"]["labels"], template["spec"], told)


def patched() -> Iterator[Pod]:
    """The Deployments of the base, each with the agent that the patch brings."""
    (patch,) = (one["spec"]["template"] for one in documents(BASE / "agent.yaml"))
    for document in documents(BASE / "airflow.yaml"):
        template = document["spec"]["template"]
        spec = {**template["spec"], **patch["spec"]}
        for part in ("volumes", "initContainers", "containers"):
            spec[part] = [*patch["spec"].get(part, []), *template["spec"].get(part, [])]
        labels = template["metadata"]["labels"] | patch["metadata"]["labels"]
        yield Pod(document["metadata"]["name"], labels, spec, settings())


def charted(path: Path) -> Iterator[Pod]:
    """What a file of values adds to each of the chart's components, with a container in the place of Airflow's."""
    (values,) = documents(path)
    (folder,) = (one["value"] for one in values["env"] if one["name"] == "AIRFLOW__CORE__DAGS_FOLDER")
    for component, added in values.items():
        if isinstance(added, dict) and "extraInitContainers" in added:
            airflow = {
                "name": component,
                "image": "chart",
                "volumeMounts": added["extraVolumeMounts"],
                "securityContext": values["securityContexts"]["containers"],
            }
            spec = {
                "securityContext": values["securityContexts"]["pod"],
                "volumes": added["extraVolumes"],
                "initContainers": added["extraInitContainers"],
                "containers": [*added.get("extraContainers", []), airflow],
            }
            yield Pod(f"{path.stem}-{component}", added["labels"], spec, {}, folder)


TASK = next(from_documents(documents(BASE / "pod_template.yaml"), settings()))
PATCHED = list(patched())
CHARTED = [pod for path in VALUES for pod in charted(path)]
PODS = [*PATCHED, TASK, *CHARTED]
