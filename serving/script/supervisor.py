"""The program that runs one script, apart from the search that wants it.

A search starts it as `python -I -S supervisor.py`, which takes 20 ms, and writes a job to its
standard input. It keeps the script's output, ends the script at its time limit or when it is told
to (SIGTERM, or SIGUSR1 without patience; SIGUSR2 because other trials do better), ends everything
the script leaves behind, and writes how all that went into the trial's record. It goes on when the
search is killed, and waits when the disk is full: what a script has measured is not lost.

It imports the standard library alone, and little of it.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import FrameType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

LOG_BYTES = 32 << 20
"""Size of a file of output at which its middle is left out."""

HEAD_BYTES, TAIL_BYTES = 1 << 20, 8 << 20
"""What is kept then."""

_PIECE = 1 << 16
_LOST_CAUSE_SECONDS = 5.0  # after SIGKILL; who is still there then cannot be ended
_SPACE_SECONDS = 0.5  # between looks whether a full disk has space again
_SET_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36  # of Linux' prctl


class Stop:
    """Requests to end; `wakeup` can be read when one comes, and when a child ends."""

    def __init__(self) -> None:
        self.requested = False
        """Whether to end the script."""
        self.forced = False
        """Whether to do so at once."""
        self.pruned = False
        """Whether to end it because other trials do better."""
        self.wakeup, write_end = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._request)
        signal.signal(signal.SIGUSR1, self._request)
        signal.signal(signal.SIGUSR2, self._prune)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self.forced |= number == signal.SIGUSR1

    def _prune(self, number: int, frame: FrameType | None) -> None:
        self.pruned = True

    def wait_for_space(self, write: Callable[[], None]) -> None:
        """Repeat a write until the disk has room for it, or patience is taken away.

        Raises:
            OSError: It fails for another reason, or there is no patience left.
        """
        while True:
            try:
                return write()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or self.forced:
                    raise
                time.sleep(_SPACE_SECONDS)


class Log:
    """A script's output in a file of bounded size: its beginning and its end.

    The file stays open, so that a script which empties its folder loses nothing.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o666)
        self._waiting = bytearray()  # not in the file yet, for want of space
        self._left_out = 0

    def write(self, output: bytes) -> None:
        """Take what the script wrote; on a full disk its end is kept in memory."""
        self._waiting += output
        try:
            self._flush()
        except OSError:
            if len(self._waiting) > LOG_BYTES:
                tail = _last_lines(bytes(self._waiting[-TAIL_BYTES:]))
                self._waiting[:] = self._gap(len(self._waiting) - len(tail)) + tail

    def settle(self, stop: Stop) -> None:
        """Write the rest, and put the file back where the script has removed or replaced it.

        Raises:
            OSError: That is not possible.
        """
        stop.wait_for_space(self._flush)
        stop.wait_for_space(self._put_back)
        os.close(self._file)

    def _flush(self) -> None:
        while self._waiting:
            written = os.write(self._file, self._waiting[:_PIECE])
            del self._waiting[:written]
        size = os.fstat(self._file).st_size
        if size > LOG_BYTES:
            tail = _last_lines(os.pread(self._file, TAIL_BYTES, size - TAIL_BYTES))
            head = os.pread(self._file, HEAD_BYTES, 0).rfind(b"\n") + 1
            os.ftruncate(self._file, head)
            self._waiting += self._gap(size - head - len(tail)) + tail
            self._flush()

    def _gap(self, length: int) -> bytes:
        self._left_out += length
        return f"[... {self._left_out:,} bytes of output left out ...]\n".encode()

    def _put_back(self) -> None:
        with suppress(OSError):
            if os.path.samestat(os.lstat(self._path), os.fstat(self._file)):
                return
        if os.path.isdir(self._path) and not os.path.islink(self._path):
            os.rename(self._path, f"{self._path}.of-the-script")
        size = os.fstat(self._file).st_size
        pieces = (os.pread(self._file, _PIECE, start) for start in range(0, size, _PIECE))
        _write_beside(self._path, pieces)


class Family:
    """A script and everything it starts, in sessions of their own, too.

    On Linux those whose parent has ended become children of this process, so that none is
    overlooked. Elsewhere it is the script's process group.

    Args:
        command: Program and arguments.

    Raises:
        OSError: The program cannot be started.
        ValueError: An argument cannot be one.
    """

    def __init__(self, command: list[str]) -> None:
        self._adopts = _prctl(_SET_CHILD_SUBREAPER, 1)
        self._process = subprocess.Popen(
            list(map(_encoded, command)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            preexec_fn=end_with_this_process,
        )
        self.code: int | None = None

    @property
    def outputs(self) -> tuple[IO[bytes], IO[bytes]]:
        """Standard output and standard error, as pipes."""
        stdout, stderr = self._process.stdout, self._process.stderr
        if stdout is None or stderr is None:
            raise ValueError("the script has no pipes")
        return stdout, stderr

    def collect(self) -> bool:
        """Take note of who has ended; True while anybody is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return not self._adopts and self._signal_group(0)
            if pid == 0:
                return True
            if pid == self._process.pid:
                self.code = self._process.returncode = os.waitstatus_to_exitcode(status)

    def signal(self, number: int) -> None:
        """Send a signal to everybody who is left."""
        if not self._adopts:
            self._signal_group(number)
            return
        for pid in _descendants(os.getpid()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _signal_group(self, number: int) -> bool:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # the latter for zombies on macOS
            return False
        return True


def supervise(job: Mapping[str, Any], stop: Stop) -> dict[str, Any]:
    """Run a script to its end.

    Args:
        job: The `command`, the files `stdout` and `stderr`, the `timeout` in seconds or None, and
            the seconds of `grace` between asking the script to end and ending it.
        stop: Ends the script when that is requested.

    Returns:
        `code`, its exit status, negative for a signal, None when there is none; `error`, why it
        could not be started; `seconds`; `timed_out`, `stopped` and `pruned`, whether it was ended
        for that reason.

    Raises:
        OSError: Its output cannot be kept.
    """
    started = time.monotonic()
    logs: list[Log] = []
    for path in (job["stdout"], job["stderr"]):
        stop.wait_for_space(lambda path=path: logs.append(Log(path)))  # type: ignore[misc]
    ending: dict[str, Any] = {
        "code": None,
        "error": None,
        "seconds": 0.0,
        "timed_out": False,
        "stopped": False,
        "pruned": False,
    }
    try:
        family = Family(job["command"])
    except (OSError, ValueError) as error:
        ending["error"] = str(error)
    else:
        ending |= _attend(family, logs, job["timeout"], job["grace"], stop)
        ending["code"] = family.code
        ending["seconds"] = time.monotonic() - started
    for log in logs:
        log.settle(stop)
    return ending


def _attend(
    family: Family, logs: list[Log], timeout: float | None, grace: float, stop: Stop
) -> dict[str, bool]:
    """Keep what a script writes until it and all it has started are gone; says who ended it."""
    ended_by = {"timed_out": False, "stopped": False, "pruned": False}
    never = float("inf")
    end_at = never if timeout is None else time.monotonic() + timeout
    kill_at = give_up_at = never
    with selectors.DefaultSelector() as selector:
        selector.register(stop.wakeup, selectors.EVENT_READ)
        for stream, log in zip(family.outputs, logs, strict=True):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream.fileno(), selectors.EVENT_READ, log)
        while family.collect():
            now = time.monotonic()
            if kill_at == never:  # nobody was asked to end yet
                if family.code is not None or now >= end_at or stop.requested or stop.pruned:
                    if family.code is None:
                        ended_by[_reason(stop, late=now >= end_at)] = True
                    family.signal(signal.SIGTERM)
                    family.signal(signal.SIGCONT)  # those who stand still would not notice
                    kill_at = now + grace
                    end_at = never
            elif now >= kill_at or stop.forced:
                give_up_at = min(give_up_at, now + _LOST_CAUSE_SECONDS)
                if now >= give_up_at:
                    break
                family.signal(signal.SIGKILL)
                kill_at = now + 0.05  # again, for those who were just being started
            wait = min(end_at, kill_at) - now
            for key, _ in selector.select(None if wait == never else max(wait, 0.0)):
                if key.data is None:
                    os.read(key.fd, _PIECE)
                elif not _copy(key.fd, key.data):
                    selector.unregister(key.fd)
    for stream, log in zip(family.outputs, logs, strict=True):
        for _ in range(64):  # a pipe holds no more
            if not _copy(stream.fileno(), log):
                break
    return ended_by


def _reason(stop: Stop, *, late: bool) -> str:
    """Why a script is ended, as its ending says."""
    if late:
        return "timed_out"
    return "stopped" if stop.requested else "pruned"


def _encoded(argument: str) -> bytes:
    """An argument in the system's encoding, or in UTF-8 when that lacks a character of it."""
    try:
        return os.fsencode(argument)
    except UnicodeEncodeError:
        return argument.encode("utf-8")


def _copy(pipe: int, log: Log) -> bool:
    """Move what a pipe holds into a log; False at its end."""
    try:
        output = os.read(pipe, _PIECE)
    except BlockingIOError:
        return True
    log.write(output)
    return bool(output)


def _last_lines(output: bytes) -> bytes:
    """The end of an output, from the beginning of a line on."""
    ends = [end for end in (output.find(b"\n"), output.find(b"\r")) if end >= 0]
    return output[min(ends) + 1 :] if ends else output


def _write_beside(path: str, pieces: Iterable[bytes]) -> None:
    """Write a file beside its place and rename it, so that nobody ever reads half of it."""
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}")
    if not os.access(folder, os.W_OK | os.X_OK):  # a script may protect what it has written
        os.chmod(folder, os.stat(folder).st_mode | 0o700)
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        with open(temporary, "xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _descendants(ancestor: int) -> list[int]:
    """Everybody a process has started, and whom they have started."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found, look_at = [], [ancestor]
    while look_at:
        below = children.get(look_at.pop(), [])
        found += below
        look_at += below
    return found


def _prctl(option: int, value: int) -> bool:
    """Set an attribute of this process; False where there is no such thing."""
    try:
        import ctypes

        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (ImportError, AttributeError, OSError):
        return False


def end_with_this_process() -> None:
    """Have a new process killed when its parent ends; to be called in it."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def main() -> int:
    """Run the job on standard input; returns 1 when its ending could not be kept."""
    stop = Stop()
    job = json.load(sys.stdin.buffer)
    with suppress(OSError):  # on a full disk nobody learns whom to ask to end
        os.pwrite(
            job["lock"], json.dumps({"pid": os.getpid(), "host": os.uname().nodename}).encode(), 0
        )
    try:
        record = {**job["record"], "ending": supervise(job, stop)}
        written = json.dumps(record, indent=1).encode()
        stop.wait_for_space(lambda: _write_beside(job["file"], [written]))
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
