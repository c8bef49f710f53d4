# SPDX-License-Identifier: Apache-2.0
"""Real images of other projects: the guest's bytes are those of the manifest, and every command prints what QEMU
prints. The images are not part of the repository; without them these cases are skipped, and the summary says so."""
import json
import os
import pathlib
import shutil

from case import Case, Skip, digest

COMMANDS = (["info"], ["info", "--output=json"], ["info", "--backing-chain"], ["check"], ["check", "--output=json"],
            ["map"], ["map", "--output=json"], ["measure", "-O", "qcow2"], ["measure", "-O", "raw"])


def find():
    stated = os.environ.get("BYRE_CORPUS")
    root = pathlib.Path(__file__).resolve().parent.parent.parent
    path = pathlib.Path(stated) if stated else root.parent / "shared" / "corpus"
    return path if (path / "manifest.json").is_file() else None


def take(world, entry):
    """A copy, so that no case can change the corpus."""
    source = world.corpus / entry["path"]
    world.expect(digest(source) == entry["sha256"], f"{source} is not what the manifest describes")
    shutil.copyfile(source, world.folder / entry["path"])
    return entry["path"]


def contents(entry):
    def run(world):
        name = take(world, entry)
        if entry["guest_sha256"] is None:
            world.compare_on_same_files("convert", "-O", "raw", name, "out.raw")
            return
        world.run_subject("convert", "-O", "raw", name, "out.raw")
        got = digest(world.folder / "out.raw")
        world.expect(got == entry["guest_sha256"], f"guest digest {got}, the manifest has {entry['guest_sha256']}")
        world.compare_on_same_files("compare", name, "out.raw")
    return Case(f"{entry['path']}: contents", run)


def described(entry, command):
    def run(world):
        world.compare_on_same_files(*command, take(world, entry))
    return Case(f"{entry['path']}: {' '.join(command)}", run)


def manifest_info(entry):
    """Compares byre alone with the manifest, independently of the QEMU of this machine."""
    def run(world):
        info = json.loads(world.run_subject("info", "--output=json", take(world, entry)).out)
        world.expect(info["format"] == entry["format"], str(info))
        world.expect(info["virtual-size"] == entry["virtual_size"], str(info))
        world.expect(info.get("backing-filename") == entry["backing"], str(info))
        world.expect(info["format-specific"]["data"] == entry["format_specific"], str(info))
    return Case(f"{entry['path']}: the manifest's description", run)


def copied(entry, arguments):
    """Converts into a new image, which QEMU checks."""
    def run(world):
        name = take(world, entry)
        world.compare_on_same_files("convert", *arguments, name, "copy.qcow2")
        if entry["guest_sha256"] is None:
            return
        world.run_subject("convert", *arguments, name, "copy.qcow2")
        world.run_qemu("check", "copy.qcow2")
        world.make("convert", "-O", "raw", "copy.qcow2", "out.raw")
        world.expect(digest(world.folder / "out.raw") == entry["guest_sha256"], "bytes differ")
    return Case(f"{entry['path']}: convert {' '.join(arguments)}", run)


def absent(world):
    raise Skip("the corpus of real images is missing (shared/corpus next to the checkout, or BYRE_CORPUS)")


def cases():
    corpus = find()
    if corpus is None:
        yield Case("real images", absent)
        return
    for entry in json.loads((corpus / "manifest.json").read_text())["images"]:
        yield contents(entry)
        yield manifest_info(entry)
        for command in COMMANDS:
            yield described(entry, command)
        yield copied(entry, ["-O", "qcow2"])
        yield copied(entry, ["-O", "qcow2", "-c", "-o", "compression_type=zstd,cluster_size=128k"])
