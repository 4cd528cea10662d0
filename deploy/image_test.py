"""Builds the image, runs each of its roles on the servers of a local stack, and buys a reward from it.

The containers run as in production: as the image's own user, with a read-only root, without capabilities. Without a
registry, the base image is a Debian with Python that is made here.
"""

import argparse
import asyncio
import re
import secrets
import shutil
import signal
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from cryptography.fernet import Fernet

from deploy.containers import PACKAGES, PROGRAMS, ImageTestFailed, Podman
from local_stack import StackError, ports, tail
from local_stack.options import StackOptions
from local_stack.postgres import database_url, socket_dir
from local_stack.stack import LocalStack

ROOT = Path(__file__).parents[1]
IMAGE = "localhost/pointsaga:test"
BUILD_ID = "image-test"
MAX_ADDED_MB = 250
START_WITHIN = 60
STOP_WITHIN = 45
"""Seconds. As `stop_grace_period` in docker-compose.yml."""
SERVERS = ("postgres", "temporal", "sandbox")
SOCKETS = "/postgres"
JOBS = {
    "command-line": ("pointsaga", "--version"),
    "migrations": ("python", "-m", "cli", "migrate"),
    "schedules": ("python", "-m", "cli", "schedules", "apply"),
    "import": ("python", "-m", "cli", "import", "sandbox/demo_shop.json"),
    "read-only-root": ("python", "-c", "import os; assert os.getuid() and not os.access('/app', os.W_OK)"),
}
PURCHASE = "/v1/rewards/reward_abc/purchase"
HEADERS = {"Authorization": "demo-full-key"}
BODY = {"customer_identifier": "6789012345"}
PAYLOADS = {"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "ImphbmUi"}]}
"""Workflow data, as the Temporal UI sends it."""


def main() -> int:
    """Run the test. Returns the exit status."""
    argparse.ArgumentParser(prog="deploy/image-test", description=__doc__).parse_args()
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        print(f"image-test: not found: {', '.join(missing)}. Run: apt-get install {PACKAGES}", file=sys.stderr)
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="pointsaga-image-") as folder:
            asyncio.run(ImageTest(Path(folder)).run())
    except (ImageTestFailed, StackError, OSError, httpx.HTTPError) as error:
        print(f"image-test: failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("image-test: ok")
    return 0


class ImageTest:
    """The steps of the test. Each prints what it found."""

    def __init__(self, folder: Path) -> None:
        self._home = folder / "stack"
        self._podman = Podman(folder)
        self._env: dict[str, str] = {}
        self._volumes: dict[Path, str] = {}

    async def run(self) -> None:
        """Run all steps, in order. Raises `ImageTestFailed`."""
        try:
            self._build()
            options = StackOptions.on_free_ports(self._home, parts=SERVERS, demo_data=False)
            async with LocalStack(options) as stack:
                self._connect(stack)
                for name, command in JOBS.items():
                    await self._finish(name, *command)
                await self._purchase()
                await self._codec()
        finally:
            self._podman.remove_storage()

    def _build(self) -> None:
        [name] = set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
        base = f"docker.io/library/{name}"
        if self._podman.pull(base):
            _say("base", base)
        else:
            _say("base", "cannot be pulled; making a Debian with Python in its place")
            self._podman.make_stand_in(base)
        began = time.monotonic()
        self._podman.build(ROOT, IMAGE, build_id=BUILD_ID)
        whole, below = (self._podman.size(image) // 1_000_000 for image in (IMAGE, base))
        _say("image", f"{whole} MB, {whole - below} MB over its base; built in {time.monotonic() - began:.0f} s")
        if whole - below > MAX_ADDED_MB:
            raise ImageTestFailed(f"the image adds more than {MAX_ADDED_MB} MB to its base")

    def _connect(self, stack: LocalStack) -> None:
        """Let containers use the stack. The socket alone is mounted: its directory is the server's own."""
        with socket_dir(self._home) as sockets:
            self._volumes = {sockets / ".s.PGSQL.5432": f"{SOCKETS}/.s.PGSQL.5432"}
        self._env = {**stack.env, "DATABASE_URL": database_url(Path(SOCKETS)), "LOG_FORMAT": "json"}

    async def _finish(self, name: str, *command: str) -> None:
        """Run a job to its end."""
        began = time.monotonic()
        async with self._container(name, *command) as (process, log):
            async with asyncio.timeout(START_WITHIN):
                status = await process.wait()
        if status != 0:
            raise ImageTestFailed(f"{name} exited with status {status}:\n{tail(log)}")
        _say(name, f"done in {time.monotonic() - began:.1f} s")

    async def _purchase(self) -> None:
        """Buy a reward from an API and a worker, and stop both."""
        [port] = ports.free(1)
        serve = ("python", "-m", "uvicorn", "api.app:create_app", "--factory", "--port", str(port))
        url = f"http://{ports.LOOPBACK}:{port}"
        async with (
            httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=60, trust_env=False) as client,
            self._service("worker", "python", "-m", "worker", ready="worker started"),
            self._service("api", *serve, ready="Uvicorn running on"),
        ):
            began = time.monotonic()
            response = await client.post(PURCHASE, json=BODY)
            if response.status_code != 201:
                raise ImageTestFailed(f"the purchase got {response.status_code} {response.text}")
            code = response.json()["data"]["attributes"]["discount_code"]
            _say("purchase", f"{code} in {time.monotonic() - began:.2f} s")

    async def _codec(self) -> None:
        """Seal and open workflow data by a codec server, which has its own settings and no others."""
        [port], key = ports.free(1), secrets.token_urlsafe(32)
        self._volumes = {}
        self._env = {"PAYLOAD_KEYS": Fernet.generate_key().decode(), "CODEC_KEYS": key}
        serve = ("python", "-m", "uvicorn", "api.codec:create_app", "--factory", "--port", str(port))
        url, headers = f"http://{ports.LOOPBACK}:{port}", {"X-Namespace": "default"}
        async with (
            self._service("codec", *serve, ready="Uvicorn running on"),
            httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client,
        ):
            refused = await client.post("/decode", json=PAYLOADS)
            client.headers["Authorization"] = f"Bearer {key}"
            sealed = await client.post("/encode", json=PAYLOADS)
            opened = await client.post("/decode", content=sealed.content)
        if refused.status_code != 401 or sealed.json() == PAYLOADS or opened.json() != PAYLOADS:
            raise ImageTestFailed(f"the codec server answered {refused.text} {sealed.text} {opened.text}")
        _say("codec", "sealed and opened a payload, and refused a stranger")

    @asynccontextmanager
    async def _service(self, name: str, *command: str, ready: str) -> AsyncGenerator[None]:
        """Run a service in the block. Ready: its log has this text. SIGTERM must end it cleanly."""
        began = time.monotonic()
        async with self._container(name, *command) as (process, log):
            while ready not in log.read_text():
                if process.returncode is not None or time.monotonic() - began > START_WITHIN:
                    raise ImageTestFailed(f"{name} did not start:\n{tail(log)}")
                await asyncio.sleep(0.05)
            _say(name, f"started in {time.monotonic() - began:.1f} s")
            yield
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_WITHIN):
                status = await process.wait()
            if status != 0:
                raise ImageTestFailed(f"{name} exited with status {status} on SIGTERM:\n{tail(log)}")

    @asynccontextmanager
    async def _container(self, name: str, *command: str) -> AsyncGenerator[tuple[Process, Path]]:
        """Start a container, with its output in a log. It is killed at the end of the block."""
        log = self._home / "logs" / f"{name}.log"
        run = self._podman.container(IMAGE, *command, name=name, env=self._env, volumes=self._volumes)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(*run, stdin=DEVNULL, stdout=output, stderr=STDOUT)
        try:
            yield process, log
        finally:
            if process.returncode is None:
                self._podman.kill(name)
                await process.wait()


def _say(what: str, result: str) -> None:
    print(f"{what:<16}{result}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
