"""Becomes another program that dies with its parent: `python tether.py SIGNAL PARENT USER COMMAND...`.

Runs before every part of the local stack, alone and with the standard library only, so that it costs some ten
milliseconds. Switching the user comes first: the kernel forgets the parent-death signal when credentials change.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1


def main(death_signal: str, parent: str, user: str, *command: str) -> None:
    """Switch to `user` if one is named, ask for the signal, and turn into the command."""
    if user:
        account = pwd.getpwnam(user)
        os.initgroups(user, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != int(parent):
        sys.exit("the local stack ended before this part began")
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
