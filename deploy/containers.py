"""Images and containers by `podman`, in a storage of their own that is removed afterwards."""

import ast
import resource
import subprocess
from collections.abc import Mapping
from pathlib import Path

PROGRAMS = ("podman", "runc", "mmdebstrap")
PACKAGES = "podman runc mmdebstrap"
"""Debian's packages with these programs."""
# The stand-in has the official image's system, and Debian's own Python instead of a compiled one.
STAND_IN_SUITE = "bookworm"
STAND_IN_PACKAGES = "ca-certificates,python-is-python3,python3,python3-venv"
STAND_IN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PULL_WITHIN = 120
"""Seconds."""
HARDENED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=host")
"""As docker-compose.yml, but with the host's network, to reach the local stack."""
# Podman would raise the limits of a container, which a host may forbid.
LIMITS = tuple(
    f"--ulimit={name}={limit}:{limit}"
    for name, limit in (
        ("nofile", resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        ("nproc", min(resource.getrlimit(resource.RLIMIT_NPROC)[0], 4096)),
    )
)


class ImageTestFailed(Exception):
    """The image is not as it should be, or cannot be built here."""


class Podman:
    """`podman`, with its storage below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._command = (
            "podman",
            f"--root={folder / 'storage'}",
            f"--runroot={folder / 'run'}",
            "--runtime=runc",
            "--cgroup-manager=cgroupfs",
            "--log-level=error",
        )

    def pull(self, image: str) -> bool:
        """Pull an image. Returns whether that worked."""
        try:
            return self._run("pull", "--quiet", image, check=False, within=PULL_WITHIN).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def make_stand_in(self, image: str) -> None:
        """Make a small Debian with Python and tag it as `image`."""
        archive = self._folder / "base.tar"
        run("mmdebstrap", "--variant=apt", f"--include={STAND_IN_PACKAGES}", STAND_IN_SUITE, str(archive), within=600)
        self._run("import", "--quiet", f"--change=ENV PATH={STAND_IN_PATH}", str(archive), image)
        archive.unlink()

    def build(self, context: Path, image: str, *, build_id: str) -> None:
        """Build the Dockerfile in `context`, with the package index that pip uses on this machine."""
        options = ("--isolation=chroot", "--network=host", "--pull=never", f"--build-arg=BUILD_ID={build_id}")
        self._run("build", "--quiet", *options, *self._pip_volumes(), f"--tag={image}", str(context), within=900)

    def size(self, image: str) -> int:
        """Bytes."""
        return int(self._run("image", "inspect", "--format={{.Size}}", image).stdout)

    def container(
        self, image: str, *command: str, name: str, env: Mapping[str, str], volumes: Mapping[Path, str]
    ) -> list[str]:
        """The command line that runs a container in the foreground and passes signals on to it."""
        mounts = [f"--volume={outside}:{inside}" for outside, inside in volumes.items()]
        variables = [f"--env={key}={value}" for key, value in env.items()]
        return [
            *self._command,
            "run",
            "--rm",
            f"--name={name}",
            *HARDENED,
            *LIMITS,
            *mounts,
            *variables,
            image,
            *command,
        ]

    def kill(self, name: str) -> None:
        """Kill a container, if it still runs."""
        self._run("kill", name, check=False)

    def remove_storage(self) -> None:
        """Remove all containers and images."""
        self._run("system", "reset", "--force", check=False)

    def _run(self, *arguments: str, check: bool = True, within: int = 120) -> subprocess.CompletedProcess[str]:
        return run(*self._command, *arguments, check=check, within=within)

    def _pip_volumes(self) -> list[str]:
        """Volumes with pip's configuration and the files and folders that it names."""
        listed = (line.split("=", 1) for line in run("pip", "config", "list", within=60).stdout.splitlines())
        options = {name.rpartition(".")[2]: ast.literal_eval(value).split() for name, value in listed}
        # The files of a local index can be anywhere: only indexes on the network are used.
        options = {
            name: kept for name, words in options.items() if (kept := [one for one in words if "file:" not in one])
        }
        file = self._folder / "pip.conf"
        file.write_text("\n".join(["[global]", *(f"{name} = {' '.join(words)}" for name, words in options.items())]))
        named = {word for words in options.values() for word in words}
        paths = sorted(path for path in named if path.startswith("/") and Path(path).exists())
        return [f"--volume={file}:/etc/pip.conf:ro", *(f"--volume={path}:{path}:ro" for path in paths)]


def run(*command: str, within: int, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program to its end. Raises `ImageTestFailed` with its last lines."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=within)
    if check and done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise ImageTestFailed(f"`{' '.join(command)}` exited with status {done.returncode}:\n{last}")
    return done
