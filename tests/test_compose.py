"""The container files fit the code: settings, modules, versions."""

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from local_stack.parts import SEARCH_ATTRIBUTES
from settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"].startswith("pointsaga:"))
LONG_RUNNING = sorted(name for name, service in SERVICES.items() if service.get("restart") == "unless-stopped")
NOT_SETTINGS = {"WORKER_READY_FILE"}
"""Between the worker and whoever started it."""
PINNED = re.compile(r"^[a-z0-9./-]+:\d+\.\d+(\.\d+)?(-[a-z0-9.-]+)?$")


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_configured_with_settings_that_exist(name: str) -> None:
    known = {field.upper() for field in Settings.model_fields} | NOT_SETTINGS

    assert set(SERVICES[name]["environment"]) <= known


@pytest.mark.parametrize("name", OURS)
def test_a_service_gets_every_setting_that_has_no_default(name: str) -> None:
    required = {name.upper() for name, field in Settings.model_fields.items() if field.is_required()}

    assert required <= set(SERVICES[name]["environment"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_an_image_is_pinned(name: str) -> None:
    assert PINNED.match(SERVICES[name]["image"])


def test_the_base_image_is_pinned() -> None:
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert bases
    assert all(PINNED.match(base) for base in bases)


def test_our_image_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert {SERVICES[name]["image"] for name in OURS} == {f"pointsaga:{project['version']}"}


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_a_service_that_stays_has_a_health_check(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - set(LONG_RUNNING)))
def test_a_job_is_tried_again_and_waits_for_what_it_needs(name: str) -> None:
    assert SERVICES[name]["restart"].startswith("on-failure")
    assert SERVICES[name]["depends_on"]


@pytest.mark.parametrize("name", OURS)
def test_a_command_names_a_module_that_exists(name: str) -> None:
    command = cast("list[str]", SERVICES[name].get("command") or ["python", "-m", "uvicorn", "api.app:create_app"])
    module = command[3].partition(":")[0] if command[2] == "uvicorn" else command[2]

    assert command[:2] == ["python", "-m"]
    assert importlib.util.find_spec(module)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_port_is_published_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", ["api", "worker"])
def test_a_service_that_drains_is_given_the_time(name: str) -> None:
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > 30


def test_temporal_gets_the_search_attributes_of_the_local_stack() -> None:
    command = SERVICES["temporal-setup"]["command"][0]

    assert tuple(re.findall(r"--name (\w+)", command)) == SEARCH_ATTRIBUTES


def test_temporal_and_its_tools_are_of_one_version() -> None:
    versions = {
        service["image"].partition(":")[2] for service in SERVICES.values() if "temporalio/" in service["image"]
    }

    assert len(versions - {SERVICES["temporal-ui"]["image"].partition(":")[2]}) == 1


def test_the_image_contains_every_package_and_module() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {f"!{pattern.removesuffix('*')}/" for pattern in setuptools["packages"]["find"]["include"]}
    modules = {f"!{module}.py" for module in setuptools["py-modules"]}

    assert packages | modules <= set((ROOT / ".dockerignore").read_text().splitlines())
