# SPDX-License-Identifier: Apache-2.0
"""The ```console blocks of the README and docs/cli.md, run in an empty folder as a reader would."""
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


def shown(output):
    """Output as a terminal shows it, where a line may be rewritten, and without times."""
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in output.split("\n")]
    return re.sub(r"\d\d\.\d\d sec \(.* ops/sec\)", "<time>", "\n".join(lines))


def run_document(document, programs):
    """Yields (name, problem or None) for each example of a document."""
    found = examples((ROOT / document).read_text())
    if not found:
        yield document, "no ```console example found"
        return
    with tempfile.TemporaryDirectory(prefix="byre-examples-") as folder:
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C"}
        for command, expected in found:
            result = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=folder,
                                    env=environment, stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
                                    check=False)
            output = shown(result.stdout.decode(errors="replace"))
            fails = expected.startswith("byre: ")
            problem = None
            if output != shown(expected) or (result.returncode != 0) != fails:
                problem = (f"exit code {result.returncode}\nexpected:\n{expected}"
                           f"got:\n{output}")
            yield f"{document}: {command}", problem


def run_all(programs):
    """The same for all documents that have examples; `programs` is the folder that has byre."""
    for document in ("README.md", "docs/cli.md"):
        yield from run_document(document, programs)
