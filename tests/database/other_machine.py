"""A machine that is no Linux, as far as that can be faked: run before a command, in a process of its own.

What Python has on Linux only is gone, `sys.platform` and `os.uname()` say macOS, and code of ours that looks into /proc
or /sys, uses an abstract or netlink socket, reaches into the network, or starts anything but PostgreSQL fails. Not
faked: the builds of other projects (their wheels for macOS are looked up by hand), and the kernel's own behaviour.
"""

from __future__ import annotations

import ctypes.util  # noqa: F401  finds libraries of this machine, chosen when it is imported
import os
import platform
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple

# It chooses among builds of its own by the platform, and the one for macOS is not here.
import psutil  # noqa: F401

_GONE: dict[str, Sequence[str]] = {
    "os": (
        "sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_setscheduler", "memfd_create", "eventfd",
        "pidfd_open", "pipe2", "fdatasync", "posix_fadvise", "posix_fallocate", "copy_file_range", "splice",
        "getrandom", "setns", "unshare", "getresuid", "setresuid", "getresgid", "setresgid", "getxattr", "setxattr",
        "listxattr", "removexattr", "timerfd_create", "O_TMPFILE", "O_PATH", "O_DIRECT", "O_LARGEFILE", "O_NOATIME",
        "MFD_CLOEXEC",
    ),
    "select": ("epoll", "EPOLLIN", "EPOLLOUT", "EPOLLET", "EPOLLEXCLUSIVE", "EPOLL_CLOEXEC"),
    "socket": (
        "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG", "AF_CAN", "AF_TIPC", "SOCK_CLOEXEC", "SOCK_NONBLOCK",
        "SO_PEERCRED", "SO_BINDTODEVICE", "SO_DOMAIN", "SO_PROTOCOL", "SO_MARK", "TCP_KEEPIDLE", "TCP_USER_TIMEOUT",
        "TCP_QUICKACK", "TCP_DEFER_ACCEPT", "TCP_INFO", "TCP_CORK", "MSG_CMSG_CLOEXEC", "MSG_NOSIGNAL",
    ),
    "signal": (
        "SIGPWR", "SIGSTKFLT", "SIGPOLL", "SIGCLD", "SIGRTMIN", "SIGRTMAX", "sigtimedwait", "sigwaitinfo",
        "pidfd_send_signal",
    ),
    "resource": (
        "prlimit", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME", "RLIMIT_SIGPENDING",
        "RUSAGE_THREAD",
    ),
    "time": ("CLOCK_BOOTTIME", "CLOCK_TAI", "clock_settime"),
    "fcntl": ("F_SETPIPE_SZ", "F_GETPIPE_SZ", "F_ADD_SEALS", "F_OFD_SETLK", "F_NOTIFY"),
}  # fmt: skip
_STANDARD = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
_OURS = str(Path(__file__).resolve().parents[2] / "controller") + os.sep
_FILES = ("open", "os.listdir", "os.scandir", "os.readlink")
_PROGRAMS = ("initdb", "pg_ctl", "postgres")


class _Darwin(NamedTuple):
    sysname: str = "Darwin"
    nodename: str = "mac"
    release: str = "23.6.0"
    version: str = "Darwin Kernel Version 23.6.0"
    machine: str = "arm64"


def _by_us(frame: FrameType | None) -> bool:
    """Whether code of ours asks, itself or through the standard library."""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_OURS):
            return True
        standard = (
            any(name.startswith(f"{place}{os.sep}") for place in _STANDARD) and "site-packages" not in name
        )
        if not (standard or name.startswith("<frozen") or name == __file__):
            return False
        frame = frame.f_back
    return False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _FILES and arguments and isinstance(arguments[0], str | bytes | Path):
        path = os.fsdecode(arguments[0])
        if path.startswith(("/proc", "/sys/")) and _by_us(sys._getframe(1)):
            raise FileNotFoundError(f"there is no {path} on this machine")
    elif event in ("socket.connect", "socket.bind", "socket.sendto"):
        address = arguments[1]
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", ""):
            raise PermissionError(f"this machine has no network: {address}")
        if isinstance(address, str | bytes) and os.fsdecode(address).startswith("\0"):
            raise OSError("there are no abstract sockets on this machine")
    elif event == "socket.getaddrinfo" and arguments[0] not in (None, "localhost", "127.0.0.1"):
        raise PermissionError(f"this machine has no network: {arguments[0]}")
    elif event == "subprocess.Popen":
        program = Path(os.fsdecode(arguments[0])).name
        if program not in _PROGRAMS and _by_us(sys._getframe(1)):
            raise FileNotFoundError(f"there is no {program} on this machine")


def become() -> None:
    """From now on this process sees that machine."""
    import importlib

    for module, names in _GONE.items():
        there: ModuleType = importlib.import_module(module)
        for name in names:
            if hasattr(there, name):
                delattr(there, name)
    # Imported already, with what was there then.
    del importlib.import_module("selectors").EpollSelector
    for name in ("selectors", "tempfile"):
        importlib.reload(importlib.import_module(name))
    os.uname = _Darwin  # type: ignore[assignment]
    platform._uname_cache = None  # type: ignore[attr-defined]
    sys.platform = "darwin"
    sys.addaudithook(_watch)
