"""`python -m tests.dependencies`: known vulnerabilities of the locked dependencies. Exit status 1 if there are any.

Skipped, with the reason, where the database at osv.dev cannot be reached.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Not PyPI's database: behind a mirror, pip-audit skips every package there and finds nothing.
COMMAND = ("pip_audit", "--vulnerability-service", "osv", "--disable-pip", "--no-deps", "--progress-spinner", "off")
WITHIN_SECONDS = 60


def audit(lock: Path = ROOT / "requirements.lock", *, seconds: float = WITHIN_SECONDS) -> tuple[int, str]:
    """Exit status and message."""
    command = [sys.executable, "-m", *COMMAND, "--requirement", str(lock)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return 0, f"dependencies: not audited, no answer within {seconds:g} s"
    return judge(done.returncode, done.stdout, done.stderr)


def judge(status: int, output: str, errors: str) -> tuple[int, str]:
    """What the output of `pip-audit` means."""
    if "known vulnerabilit" in errors and "No known vulnerabilities" not in errors:
        return 1, f"{output}{errors}"
    if status == 0:
        return 0, "dependencies: no known vulnerabilities"
    last = (errors.strip() or output.strip() or "no output").splitlines()[-1]
    return 0, f"dependencies: not audited, {last[:200]}"


if __name__ == "__main__":
    status, message = audit()
    print(message)  # noqa: T201
    sys.exit(status)
