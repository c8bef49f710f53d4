# SPDX-License-Identifier: Apache-2.0
"""What QEMU and byre say about the images that a step has left: names, properties, contents, errors of the checks."""
import hashlib
import json
import pathlib
import subprocess
import tempfile

from sides import without_host

_CONTENTS_MAX = 4 << 30


class Looker:
    def __init__(self, qemu, byre, scratch):
        self.qemu = qemu
        self.byre = byre
        self.scratch = scratch
        self.known = {}

    def look(self, folder, names, inside):
        """{name: what it is} for the images that match `names`. With `inside`, the contents are those of the files in the
        first partition: tools that mount file systems leave other times and UUIDs in them each time."""
        paths = sorted(path for pattern in names for path in folder.glob(pattern) if path.is_file() and not path.is_symlink())
        return {str(path.relative_to(folder)): self.look_at(path, folder, inside) for path in paths}

    def look_at(self, path, folder, inside):
        """As describe(), which is called only if a file of the image's chain has changed."""
        chain, state, told = self.known.get(path, ([path], None, None))
        if state != _state(chain):
            told, chain = self.describe(path, folder, inside)
            self.known[path] = (chain, _state(chain), told)
        return told

    def describe(self, path, folder, inside):
        """What the image is, and the files of its chain."""
        info = self.run(self.qemu, "info", "-U", "--output=json", "--backing-chain", path)
        if info.returncode != 0:
            return {"info": info.stderr}, [path]
        told = json.loads(info.stdout)
        chain = [pathlib.Path(image["filename"]) for image in told]
        top = told[0]
        found = {"info": without_host(top)}
        if top["format"] == "qcow2":
            found["check by QEMU"] = self.run(self.qemu, "check", "-U", path).returncode
            found["check by byre"] = self.run(self.byre, "check", "-U", path).returncode
        if top["format"] in ("raw", "qcow2") and top["virtual-size"] <= _CONTENTS_MAX:
            found["contents"] = self.contents(path, top["format"], inside)
            for snapshot in top.get("snapshots", []):
                found[f"contents of {snapshot['name']}"] = self.contents(path, "qcow2", inside, "-l", snapshot["name"])
        return found, chain

    def contents(self, path, image_format, inside, *options):
        """A digest, of what both programs read; they must agree."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            digests = []
            for program in (self.qemu, self.byre):
                raw = pathlib.Path(folder) / "raw"
                result = self.run(program, "convert", "-U", "-f", image_format, "-O", "raw", *options, path, raw)
                if result.returncode != 0:
                    return f"{program} cannot read it: {result.stderr}"
                digests.append(digest(raw))
            if digests[0] != digests[1]:
                return "QEMU and byre read different bytes"
            return files_digest(raw, pathlib.Path(folder)) if inside else digests[0]

    @staticmethod
    def run(program, *arguments):
        return subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True, errors="replace", check=False)


def _state(paths):
    return [(path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else None for path in paths]


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_digest(raw, scratch):
    """Whether e2fsck finds the first partition's file system clean, and a digest of its files' names and bytes."""
    inside = f"{raw}?offset={_first_partition(raw)}"
    checked = subprocess.run(["e2fsck", "-f", "-n", inside], capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        return f"e2fsck: {checked.stdout}"
    tree = scratch / "tree"
    tree.mkdir(exist_ok=True)
    subprocess.run(["debugfs", "-R", f"rdump / {tree}", inside], capture_output=True, check=True)
    found = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        found.update(str(path.relative_to(tree)).encode() + b"\n")
        if path.is_file() and not path.is_symlink():
            found.update(path.read_bytes())
    return f"e2fsck: clean; files {found.hexdigest()}"


def _first_partition(raw):
    """Where the first partition begins; 0 if the disk has none."""
    told = subprocess.run(["sfdisk", "--json", raw], capture_output=True, text=True, check=False)
    return json.loads(told.stdout)["partitiontable"]["partitions"][0]["start"] * 512 if told.returncode == 0 else 0
