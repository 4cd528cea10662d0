"""The Kubernetes manifests agree with the code, with each other, and with the limits of Kubernetes and Temporal."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cryptography.fernet import Fernet

from settings import CodecSettings, Settings
from tests.test_compose import SERVICES
from workflows.saga import background_queue

FOLDER = Path(__file__).parents[1] / "deploy" / "kubernetes"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
CODEC = "pointsaga-codec"
FILES = [path for path in sorted(FOLDER.rglob("*.yaml")) if path.name != "kustomization.yaml"]
OBJECTS: list[dict[str, Any]] = [one for path in FILES for one in yaml.safe_load_all(path.read_text())]
WITH_PODS = [one for one in OBJECTS if "template" in one.get("spec", {})]
SETTINGS = Settings.model_validate({"encryption_keys": Fernet.generate_key().decode()})
CUSTOM_APIS = ("keda.sh/", "temporal.io/")
"""API groups that Kubernetes has no schema for."""
NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
MAX_NAME, MAX_WORKER_DEPLOYMENT = 63, 47
"""Characters. The Temporal Worker Controller adds a version to its deployments' names."""


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [one for one in OBJECTS if one["kind"] == kind]


def name_of(one: dict[str, Any]) -> str:
    return f"{one['kind']} {one['metadata']['name']}"


def container(one: dict[str, Any]) -> dict[str, Any]:
    [only] = one["spec"]["template"]["spec"]["containers"]
    return only


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, which renders the overlays: install it")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_rendered_to_valid_objects(overlay: str) -> None:
    assert_valid(rendered(FOLDER / "overlays" / overlay))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, which renders the overlays: install it")
def test_the_codec_server_can_be_added_to_an_overlay(tmp_path: Path) -> None:
    to_folder = os.path.relpath(FOLDER, tmp_path)
    mine = {
        "resources": [f"{to_folder}/overlays/production"],
        "components": [f"{to_folder}/components/codec"],
        "namespace": "pointsaga",
        "images": yaml.safe_load((FOLDER / "overlays" / "production" / "kustomization.yaml").read_text())["images"],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(mine))

    objects = rendered(tmp_path)

    assert_valid(objects)
    assert sorted(one["kind"] for one in objects if one["metadata"]["name"] == CODEC) == [
        "Deployment",
        "NetworkPolicy",
        "Service",
    ]


def rendered(folder: Path) -> list[dict[str, Any]]:
    kustomize = subprocess.run(["kubectl", "kustomize", str(folder)], check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(kustomize.stdout))


def assert_valid(objects: list[dict[str, Any]]) -> None:
    for one in objects:
        assert one["metadata"]["namespace"] == "pointsaga"
        if not one["apiVersion"].startswith(CUSTOM_APIS):
            kubernetes_validate.validate(one, "1.37", strict=True)
    images = {container(one)["image"] for one in objects if "template" in one.get("spec", {})}
    assert images == {f"registry.example.com/{SERVICES['api']['image']}"}


@pytest.mark.parametrize("one", WITH_PODS, ids=name_of)
def test_pods_run_as_the_images_user_and_cannot_write_or_gain_rights(one: dict[str, Any]) -> None:
    pod, security = one["spec"]["template"]["spec"], container(one)["securityContext"]
    dockerfile = (FOLDER.parents[1] / "Dockerfile").read_text()

    assert pod["securityContext"]["runAsNonRoot"]
    assert f"USER {pod['securityContext']['runAsUser']}\n" in dockerfile
    assert not pod["automountServiceAccountToken"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("one", WITH_PODS, ids=name_of)
def test_pods_state_what_they_need(one: dict[str, Any]) -> None:
    resources = container(one)["resources"]

    assert {"cpu", "memory"} <= set(resources["requests"])
    assert "memory" in resources["limits"]
    assert container(one)["image"] == SERVICES["api"]["image"]


@pytest.mark.parametrize("one", WITH_PODS, ids=name_of)
def test_commands_run_existing_modules(one: dict[str, Any]) -> None:
    command = " ".join(container(one).get("command", ["python -m api"]))

    modules = re.findall(r"python -m (\w+)", command)
    assert modules
    assert all(importlib.util.find_spec(module) for module in modules)


def test_services_have_probes_and_more_time_to_end_than_they_take() -> None:
    services = [one for one in WITH_PODS if one["kind"] in ("Deployment", "WorkerDeployment")]

    assert len(services) == 4
    for one in services:
        assert {"startupProbe", "readinessProbe"} <= set(container(one))
        assert one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 45


def test_settings_exist_and_none_of_them_is_secret() -> None:
    [config] = of_kind("ConfigMap")
    fields = {name.upper(): value for name, value in Settings.model_fields.items()}

    assert set(config["data"]) <= set(fields)
    secret = {name for name in config["data"] if "SecretStr" in str(fields[name].annotation)}
    assert not secret


def test_the_codec_server_gets_its_own_settings_and_no_other_secret() -> None:
    [codec] = [container(one) for one in WITH_PODS if one["metadata"]["name"] == CODEC]
    [config] = of_kind("ConfigMap")

    secrets = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in codec["env"]}
    assert secrets == {
        "PAYLOAD_KEYS": {"name": "pointsaga-secrets", "key": "PAYLOAD_KEYS"},
        "CODEC_KEYS": {"name": CODEC, "key": "CODEC_KEYS"},
    }
    assert codec["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
    assert {name.lower() for name in secrets} <= set(CodecSettings.model_fields)


def test_the_codec_server_is_asked_by_the_namespace_of_temporal_and_asks_nobody() -> None:
    [policy] = [one["spec"] for one in of_kind("NetworkPolicy") if one["metadata"]["name"] == CODEC]
    [config] = of_kind("ConfigMap")
    namespace = config["data"]["TEMPORAL_ADDRESS"].partition(":")[0].partition(".")[2]

    assert policy["podSelector"]["matchLabels"] == {"app": CODEC}
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"][0]["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    ]
    assert "egress" not in policy


def test_rows_are_kept_as_long_as_by_default() -> None:
    [config] = of_kind("ConfigMap")
    defaults = {name.upper(): str(field.default) for name, field in Settings.model_fields.items() if "_days" in name}

    assert {name: value for name, value in config["data"].items() if "_DAYS" in name} == defaults


def test_a_worker_that_is_replaced_in_place_is_unversioned() -> None:
    [config] = of_kind("ConfigMap")

    assert config["data"]["WORKER_BUILD_ID"] == ""


def test_the_versioned_worker_is_the_same_but_for_its_version() -> None:
    [worker] = [one for one in of_kind("Deployment") if one["metadata"]["name"] == "pointsaga-worker"]
    [versioned] = of_kind("WorkerDeployment")

    plain, wrapped = container(worker).pop("command"), container(versioned).pop("command")
    assert worker["spec"]["template"] == versioned["spec"]["template"]
    assert wrapped[-1].strip().endswith("exec " + " ".join(plain))
    assert "WORKER_BUILD_ID=$TEMPORAL_WORKER_BUILD_ID" in wrapped[-1]


def test_names_are_within_the_limits() -> None:
    for one in OBJECTS:
        limit = MAX_WORKER_DEPLOYMENT if one["kind"] == "WorkerDeployment" else MAX_NAME
        assert NAME.fullmatch(one["metadata"]["name"])
        assert len(one["metadata"]["name"]) <= limit


def test_the_api_knows_the_name_of_the_controllers_deployment() -> None:
    overlay = yaml.safe_load((FOLDER / "overlays" / "worker-controller" / "kustomization.yaml").read_text())
    [versioned] = of_kind("WorkerDeployment")

    [patch] = yaml.safe_load(overlay["patches"][0]["patch"])
    assert patch["value"] == f"{overlay['namespace']}/{versioned['metadata']['name']}"
    Settings.model_validate({**SETTINGS.model_dump(), "worker_deployment_name": patch["value"]})


def test_workers_scale_by_both_task_queues_and_the_servers_address() -> None:
    [config], [scaled], [connection] = of_kind("ConfigMap"), of_kind("ScaledObject"), of_kind("Connection")
    triggers = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]

    queue = config["data"]["TEMPORAL_TASK_QUEUE"]
    assert [trigger["taskQueue"] for trigger in triggers] == [queue, background_queue(queue)]
    address = config["data"]["TEMPORAL_ADDRESS"]
    assert {*(trigger["endpoint"] for trigger in triggers), connection["spec"]["hostPort"]} == {address}


def test_only_the_api_accepts_requests() -> None:
    apps = {one["spec"]["template"]["metadata"]["labels"]["app"] for one in WITH_PODS} - {CODEC}
    by_name = {one["metadata"]["name"]: one["spec"]["podSelector"] for one in of_kind("NetworkPolicy")}

    assert set(by_name["pointsaga-no-ingress"]["matchExpressions"][0]["values"]) == apps - {"pointsaga-api"}
    assert set(by_name["pointsaga-egress"]["matchExpressions"][0]["values"]) == apps


def test_prometheus_finds_the_port_of_the_metrics() -> None:
    [config] = of_kind("ConfigMap")
    port = config["data"]["METRICS_ADDRESS"].rpartition(":")[2]
    services = [one for one in WITH_PODS if one["kind"] != "Job" and one["metadata"]["name"] != CODEC]

    for one in services:
        assert one["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] == port
        assert int(port) in [named["containerPort"] for named in container(one)["ports"]]
    [policy] = [one for one in of_kind("NetworkPolicy") if one["metadata"]["name"] == "pointsaga-metrics"]
    assert [one["port"] for one in policy["spec"]["ingress"][0]["ports"]] == [int(port)]
