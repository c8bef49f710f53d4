# SPDX-License-Identifier: Apache-2.0
"""Two sides that run the same steps, one with QEMU's qemu-img first in PATH and one with byre's.

On both sides a small program named qemu-img comes first in PATH. It records each call with its output and exit code, and
runs the side's qemu-img under that name: the record proves which program a tool has run.
"""
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

NOBODY = 65534
SECONDS_MAX = 900
RECORDER = """#!/usr/bin/python3 -I
import json, os, signal, subprocess, sys
process = subprocess.Popen(["qemu-img", *sys.argv[1:]], executable={program!r}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: process.send_signal(number))
out, err = process.communicate()
call = {{"arguments": sys.argv[1:], "code": process.returncode, "out": out.decode(errors="replace"),
        "err": err.decode(errors="replace")}}
record = os.open({record!r}, os.O_WRONLY | os.O_APPEND)
os.write(record, json.dumps(call).encode() + b"\\n")
os.close(record)
sys.stdout.buffer.write(out)
sys.stdout.flush()
sys.stderr.buffer.write(err)
sys.stderr.flush()
if process.returncode < 0:
    signal.signal(-process.returncode, signal.SIG_DFL)
    os.kill(os.getpid(), -process.returncode)
sys.exit(process.returncode)
"""

# What differs from run to run or by its nature: times, identifiers, temporary names, sizes on the host, steps of progress.
_VARYING = [
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
    (r"\b\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d+)?( [+-]\d{4})?", "TIME"),
    (r"\b1[6-9]\d{8}(\.\d+)?\b", "SECONDS"),
    (r"\b(\w{3} )?\w{3} +\d+ \d{2}:\d{2}:\d{2}( \w+)?( \d{4})?", "TIME"),
    (r"\b\d{4}/\d{2}/\d{2} \d{2}:\d{2}:\d{2}\b", "TIME"),
    (r"\b\d{2}:\d{2}:\d{2}\.\d{3}\b", "CLOCK"),
    (r"(?m)^\[ *\d+\.\d+\] ", "[TIME] "),
    (r"/libguestfs\w{6}", "/libguestfsX"),
    (r"/sparsify\w+\.qcow2", "/sparsifyX.qcow2"),
    (r"(?m)^(disk size|    file length): .*$", r"\1: SIZE"),
    (r"(    \(\d+\.\d\d/100%\)\r\n?)+", "PROGRESS"),
    (r"\bafter( \d+ (minutes?|(milli|micro)?seconds?))+", "after TIME"),
    (r"vnc://127\.0\.0\.1:\d+", "vnc://PORT"),
    (r"/dib_image\.\w+", "/dib_image.X"),
]


@dataclasses.dataclass
class Outcome:
    code: int
    out: str
    err: str
    calls: list  # of qemu-img, each {"arguments", "code", "out", "err"}


class Side:
    def __init__(self, name, program, base):
        self.name = name
        self.folder = base / name
        self.folder.mkdir()
        wrapped = base / f"{name}.bin"
        wrapped.mkdir()
        self.record = base / f"{name}.calls"
        self.record.touch(mode=0o666)
        self.record.chmod(0o666)
        (wrapped / "qemu-img").write_text(RECORDER.format(program=str(program), record=str(self.record)))
        (wrapped / "qemu-img").chmod(0o755)
        self.environment = {"PATH": f"{wrapped}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TERM": "dumb",
                            "HOME": str(self.folder), "TZ": "UTC"}
        self.as_nobody = False
        self.seen = 0

    def argv(self, argv):
        if self.as_nobody and os.geteuid() == 0:
            return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *argv]
        return argv

    def run(self, line):
        """Runs a line of shell in the side's folder; what it leaves running is ended when it takes too long."""
        process = subprocess.Popen(self.argv(["bash", "-c", line]), cwd=self.folder, env=self.environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            out, err = process.communicate(timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            err += f"\nstopped after {SECONDS_MAX} s\n".encode()
        return Outcome(process.returncode, self.normal(out.decode(errors="replace")), self.normal(err.decode(errors="replace")),
                       self.new_calls())

    def new_calls(self):
        with open(self.record, encoding="utf-8") as file:
            file.seek(self.seen)
            calls = [json.loads(line) for line in file.readlines()]
            self.seen = file.tell()
        return [{"arguments": [self.normal(word) for word in call["arguments"]], "code": call["code"],
                 "out": self.normal(_answer(call)), "err": self.normal(call["err"])} for call in calls]

    def normal(self, text):
        """A text without what is different on each side or in each run."""
        text = text.replace(str(self.folder), "DIR")
        for pattern, word in _VARYING:
            text = re.sub(pattern, word, text)
        return text

    def give_away(self):
        """Everything in the folder belongs to the user that the side runs as."""
        if self.as_nobody and os.geteuid() == 0:
            for path in [self.folder, *self.folder.rglob("*")]:
                if not path.is_symlink():
                    os.chown(path, NOBODY, NOBODY)


def _answer(call):
    """What a call has printed, without what is different by its nature: sizes on the host; and the help, which names the
    program and its formats."""
    if call["arguments"] == ["--help"]:
        return ""
    try:
        return json.dumps(without_host(json.loads(call["out"])))
    except ValueError:
        return call["out"]


def without_host(info):
    """The JSON of `info` without times, and without sizes on the host, which depend on how an image was written."""
    if isinstance(info, dict):
        hidden = {"actual-size", "date-sec", "date-nsec", "vm-clock-sec", "vm-clock-nsec"}
        if info.get("format") == "file":
            hidden.add("virtual-size")
        return {key: without_host(value) for key, value in info.items() if key not in hidden}
    return [without_host(value) for value in info] if isinstance(info, list) else info


def copy_programs(folder, target):
    """byre's programs, copied where any user may run them and no build replaces them."""
    target.mkdir()
    shutil.copy2(pathlib.Path(folder) / "byre", target / "qemu-img")
    return target / "qemu-img"
