import os
import shutil
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from local_stack.postgres import INITIALISE_ENV, initialise_command

# In a mount namespace, with a copy of /etc that has no account for PostgreSQL. Arguments: a directory for the copy, the
# number of stacks, and the command.
NEW_MACHINE = """
cp -a /etc "$1/etc" && mount --bind "$1/etc" /etc
sed -i '/^pgserver:/d' /etc/passwd /etc/shadow /etc/group /etc/gshadow
homes=$1 stacks=$2; shift 2
for stack in $(seq $stacks); do
  "$@" "$homes/$stack/postgres" & started="$started $!"
done
for one in $started; do wait $one || exit 1; done
"""
STACKS = 3


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"),
    reason="only root creates an account for PostgreSQL: run as root, with `unshare` of util-linux",
)
async def test_several_stacks_can_be_the_first_of_a_machine(tmp_path: Path) -> None:
    homes = [tmp_path / str(number) for number in range(1, STACKS + 1)]
    for home in homes:
        home.mkdir()
    *initialise, _ = initialise_command(tmp_path)
    command = ("unshare", "--mount", "bash", "-c", NEW_MACHINE, "new-machine", str(tmp_path), str(STACKS), *initialise)

    process = await create_subprocess_exec(*command, env={**os.environ, **INITIALISE_ENV}, stdout=PIPE, stderr=STDOUT)
    output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
    assert all((home / "postgres" / "PG_VERSION").exists() for home in homes)
