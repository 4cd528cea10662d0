"""Dockerfile and docker-compose.yml agree with the code: settings, modules, versions."""

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from cryptography.fernet import Fernet

from local_stack import parts
from settings import CodecSettings, CommonSettings, Settings
from workflows.progress import SEARCH_ATTRIBUTES

KEY = Fernet.generate_key().decode()
ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"].startswith("pointsaga:"))
LONG_RUNNING = sorted(name for name, service in SERVICES.items() if service.get("restart") == "unless-stopped")
NOT_SETTINGS = {"WORKER_READY_FILE"}
"""Environment variables that are read outside `Settings`."""
PINNED = re.compile(r"^[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9.-]+)?$")


@pytest.mark.parametrize("name", OURS)
def test_services_get_every_setting(name: str) -> None:
    kind: type[CommonSettings] = CodecSettings if name == "codec" else Settings
    settings = {field.upper() for field in kind.model_fields}

    assert set(SERVICES[name]["environment"]) - NOT_SETTINGS == settings


def test_the_uis_pages_may_ask_the_codec_server() -> None:
    [port] = SERVICES["temporal-ui"]["ports"]
    address, _, _ = port.rpartition(":")

    assert SERVICES["codec"]["environment"]["CODEC_ORIGINS"] == f"${{CODEC_ORIGINS:-http://{address}}}"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_a_setting_of_the_composition_has_its_default(name: str) -> None:
    value, field = SERVICES["api"]["environment"][name.upper()], Settings.model_fields[name]

    variable = re.fullmatch(r"\$\{(\w+):-(.*)\}", value or "")
    if variable:
        assert variable[1] == name.upper()
        assert Settings.model_validate({"encryption_keys": KEY, name: variable[2]}) == Settings.model_validate(
            {"encryption_keys": KEY}
        )
    elif value is None:
        # An empty text would be a value.
        assert field.default is None


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned(name: str) -> None:
    assert PINNED.match(SERVICES[name]["image"])


def test_the_base_image_is_pinned() -> None:
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert bases
    assert all(PINNED.match(base) for base in bases)


def test_our_image_has_the_project_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert {SERVICES[name]["image"] for name in OURS} == {f"pointsaga:{project['version']}"}


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_long_running_services_have_a_health_check(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - set(LONG_RUNNING)))
def test_jobs_are_retried_and_have_dependencies(name: str) -> None:
    assert SERVICES[name]["restart"].startswith("on-failure")
    assert SERVICES[name]["depends_on"]


@pytest.mark.parametrize("name", OURS)
def test_commands_run_existing_modules(name: str) -> None:
    command = cast("list[str]", SERVICES[name].get("command") or ["python", "-m", "uvicorn", "api.app:create_app"])
    module = command[3].partition(":")[0] if command[2] == "uvicorn" else command[2]

    assert command[:2] == ["python", "-m"]
    assert importlib.util.find_spec(module)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_published_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", ["api", "worker"])
def test_api_and_worker_have_time_to_drain(name: str) -> None:
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > 30


def test_search_attributes_are_the_same_everywhere() -> None:
    command = SERVICES["temporal-setup"]["command"][0]
    names = tuple(key.name for key in SEARCH_ATTRIBUTES)

    assert tuple(re.findall(r"--name (\w+)", command)) == names == parts.SEARCH_ATTRIBUTES


def test_temporal_and_its_tools_have_one_version() -> None:
    versions = {
        service["image"].partition(":")[2] for service in SERVICES.values() if "temporalio/" in service["image"]
    }

    assert len(versions - {SERVICES["temporal-ui"]["image"].partition(":")[2]}) == 1


def test_the_image_contains_all_packages_and_modules() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {f"!{pattern.removesuffix('*')}/" for pattern in setuptools["packages"]["find"]["include"]}
    modules = {f"!{module}.py" for module in setuptools["py-modules"]}

    lines = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {line for line in lines if line.startswith("!")} - {"!requirements-image.lock"}
    assert copied == packages - {"!local_stack/"} | modules
