# SPDX-License-Identifier: Apache-2.0
"""The README's ```console blocks, run in an empty folder as a reader would."""
import os
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def examples(text):
    """[(command, expected output)] of all ```console blocks, in order."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.M | re.S):
        command = None
        for line in block.splitlines(keepends=True):
            if line.startswith("$ "):
                command = [line[2:].rstrip("\n"), ""]
                found.append(command)
            elif command is None:
                raise ValueError(f"a console block starts without a command: {line!r}")
            else:
                command[1] += line
    return [tuple(entry) for entry in found]


def run_all(programs):
    """Yields (name, problem or None) for each example; `programs` is the folder that has byre."""
    shown = examples((ROOT / "README.md").read_text())
    if not shown:
        yield "README.md", "no ```console example found"
        return
    with tempfile.TemporaryDirectory(prefix="byre-readme-") as folder:
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C"}
        for command, expected in shown:
            result = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=folder,
                                    env=environment, stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
                                    check=False)
            output = result.stdout.decode(errors="replace")
            problem = None
            if output != expected or result.returncode != 0:
                problem = (f"exit code {result.returncode}\nexpected:\n{expected}"
                           f"got:\n{output}")
            yield f"README: {command}", problem
