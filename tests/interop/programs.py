# SPDX-License-Identifier: Apache-2.0
"""Runs one program as a user would, with limits, and returns its output."""
import dataclasses
import os
import pathlib
import shlex
import signal
import subprocess

SECONDS_MAX = 60

# Without these two even root is subject to the permissions of files, like every other user.
_AS_A_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@dataclasses.dataclass
class Result:
    command: str
    out: bytes
    err: bytes
    code: int

    def text(self):
        shown = "".join(part.decode(errors="backslashreplace") for part in (self.out, self.err))
        return f"$ {self.command}\n{shown}exit code {self.code}"


class TookTooLong(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Program:
    """A program that is run under the name `name`, whatever its file is called."""

    path: pathlib.Path
    name: str
    environment: tuple = ()

    def argv(self, arguments, memory=None, file_size=None, as_user=False):
        """The command line; limits in bytes, a write past `file_size` is EFBIG, as on a full disk."""
        arguments = [os.fspath(argument) for argument in arguments]
        script = f"exec -a {shlex.quote(self.name)} \"$0\" \"$@\""
        if memory is not None:
            script = f"ulimit -v {memory // 1024}; " + script
        if file_size is not None:
            script = f"trap '' XFSZ; ulimit -f {file_size // 1024}; " + script
        prefix = _AS_A_USER if as_user and os.geteuid() == 0 else []
        if not prefix and memory is None and file_size is None:
            return [self.name, *arguments], str(self.path)
        return [*prefix, "bash", "-c", script, str(self.path), *arguments], None

    def start(self, arguments, folder, **kinds):
        """Starts it; the caller waits. `kinds`: as for argv(), and stdin, stdout, stderr."""
        limits = {key: kinds.pop(key) for key in ("memory", "file_size", "as_user") if key in kinds}
        argv, executable = self.argv(arguments, **limits)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("BYRE_")}
        environment.update({"LC_ALL": "C", **dict(self.environment)})
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(argv, executable=executable, cwd=folder, env=environment,
                                start_new_session=True, **{**pipes, **kinds})

    def run(self, arguments, folder, seconds=SECONDS_MAX, send=None, **kinds):
        if send is not None:
            kinds["stdin"] = subprocess.PIPE
        process = self.start(arguments, folder, **kinds)
        command = shlex.join([self.name, *map(os.fspath, arguments)])
        try:
            out, err = process.communicate(send, timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise TookTooLong(f"{command}: still running after {seconds} s") from None
        return Result(command, out or b"", err or b"", process.returncode)
