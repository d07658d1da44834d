"""The values for Airflow's official Helm chart, rendered by Helm.

The chart is in no package registry: `DAGFERRY_AIRFLOW_CHARTS` names a folder of unpacked charts, one folder each,
without their dependency on PostgreSQL. Without it these tests say that they are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from tests.ci.manifests import VALUES, Document, documents
from tests.ci.tools import KUBERNETES_VERSIONS, judged, said, tool

pytestmark = pytest.mark.manifests
CHARTS = "DAGFERRY_AIRFLOW_CHARTS"


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
