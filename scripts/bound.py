"""Become another program that cannot outlive its parent: `python bound.py PARENT_PID MEMORY_BYTES PROGRAM ARGUMENT...`.

A step of its own between the launcher and the database server, because running Python between fork and exec of a process that
has threads (`preexec_fn`) may deadlock. It imports nothing of Agora, so it costs some ten milliseconds.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2); Linux only


def bound(memory: int) -> list[str]:
    """What a command begins with whose program may take `memory` bytes, and ends together with the calling thread."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(memory)]


def main(parent: int, memory: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            sys.exit(1)
    # A server that asks for more ends with "memory allocation failed" instead of taking the machine along.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
