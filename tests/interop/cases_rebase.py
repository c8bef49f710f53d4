# SPDX-License-Identifier: Apache-2.0
"""`rebase`: another backing file under an image that reads the same before and after, as QEMU copies what differs."""
import json
import os
import re
import shlex
import subprocess

from case import Case, Skip
from cases_commit import contents, masked
from cases_locks import held_by
from cases_places import own_mounts

OVERLAYS = {
    "top": [], "version 2": ["-o", "compat=0.10"], "extended": ["-o", "extended_l2=on"],
    "clusters of 512": ["-o", "cluster_size=512"], "clusters of 2M": ["-o", "cluster_size=2M"],
    "lazy refcounts": ["-o", "lazy_refcounts=on"], "small, version 2": ["-o", "compat=0.10,cluster_size=1k"],
    "narrow refcounts": ["-o", "refcount_bits=1"], "zstd": ["-o", "compression_type=zstd"],
    "data file": ["-o", "data_file=data"],
}
TARGETS = {
    "no backing file": ["-b", ""],
    "its own": ["-b", "mid.qcow2", "-F", "qcow2"],
    "further down": ["-b", "base.raw", "-F", "raw"],
    "outside": ["-b", "other.qcow2", "-F", "qcow2"],
    "outside, raw": ["-b", "other.raw", "-F", "raw"],
    "longer": ["-b", "longer.qcow2", "-F", "qcow2"],
    "shorter": ["-b", "shorter.raw", "-F", "raw"],
    "the same contents": ["-b", "copy.qcow2", "-F", "qcow2"],
    "beside the old one": ["-b", "sibling.qcow2", "-F", "qcow2"],
    "compressed": ["-b", "packed.qcow2", "-F", "qcow2"],
}
SIZES = {"1M": "1M", "no multiple": "1000960", "longer than the base": "5M"}
WRITES = ["write -P 3 128k 64k", "write -P 4 300k 5k", "write -z 400k 64k", "discard 640k 64k"]

ARGUMENTS = [
    "", "top.qcow2", "-b base.raw", "-b base.raw -F raw a b", "-u top.qcow2", "-u -b nosuch -F qcow2 top.qcow2", "-u -b '' top.qcow2",
    "-u -F raw top.qcow2", "-u -b '' -F qcow2 top.qcow2", "-b base.raw top.qcow2", "-u -b base.raw top.qcow2",
    "-p -b base.raw -F raw top.qcow2", "-q -p -b '' top.qcow2", "-p -u -b '' top.qcow2", "-b nosuch -F raw top.qcow2", "-b nosuch top.qcow2",
    "-b base.raw -F nosuch top.qcow2", "-u -b base.raw -F vmdk top.qcow2", "-u -F nosuch top.qcow2",
    "-f raw -b base.raw -F raw top.qcow2", "-f nosuch -b base.raw -F raw top.qcow2", "-f qcow2 -b base.raw -F raw top.qcow2",
    "-t nosuch -b base.raw -F raw top.qcow2", "-T nosuch -b base.raw -F raw top.qcow2", "-t none -T none -b base.raw -F raw top.qcow2",
    "-t writethrough -b '' top.qcow2", "-t unsafe -b '' top.qcow2", "-f raw -b base.raw -F raw raw.raw", "-f raw -u -b base.raw -F raw raw.raw",
    "-f raw -u -b '' raw.raw", "-f raw -u raw.raw", "-f raw -b nosuch -F raw raw.raw", "-b '' nosuch", "-c -f raw -b base.raw -F raw raw.raw",
    "-b top.qcow2 -F qcow2 top.qcow2", "--image-opts -b base.raw -F raw driver=qcow2,file.filename=top.qcow2",
    "--image-opts -f qcow2 -b base.raw -F raw driver=qcow2,file.filename=top.qcow2", "--image-opts -b base.raw top.qcow2",
    "--image-opts -u -b base.raw -F raw file.filename=top.qcow2,driver=qcow2,lazy-refcounts=on",
    "-b json:nosuch -F raw top.qcow2", "-b nosuch:a -F raw top.qcow2", "-u -b nosuch:a -F raw top.qcow2",
    """-b 'json:{"driver":"raw","file":{"driver":"file","filename":"base.raw"}}' -F raw top.qcow2""",
    """-b 'json:{"driver":"qcow2","file":{"driver":"file","filename":"other.qcow2"}}' -F qcow2 top.qcow2""",
    """-u -b 'json:{"driver":"nosuch"}' -F raw top.qcow2""", "-b file:other.raw -F raw top.qcow2", "-U -b other.raw -F raw top.qcow2",
    "-b other.raw -F qcow2 top.qcow2", "-b lost.qcow2 -F qcow2 top.qcow2", "-b base.raw -F raw lost.qcow2", "-u -b base.raw -F raw lost.qcow2",
    "-b base.raw -F raw -x top.qcow2", "--object secret,id=a,data=b -b base.raw -F raw top.qcow2", "--object nosuch -b '' top.qcow2",
    "--backing base.raw --backing-format raw top.qcow2", "--backing base.raw --backing-format raw --backing-cache none top.qcow2",
    "--backing-unsafe --backing '' top.qcow2", "--compress -b '' top.qcow2", "--force-share --progress -b '' top.qcow2", "--back base.raw top.qcow2",
    "-b base.raw -b '' top.qcow2", "-b base.raw -F qcow2 -F raw top.qcow2", "-b $PWD/base.raw -F raw top.qcow2", "-b ./base.raw -F raw ./top.qcow2",
    "-b sub/base.raw -F raw top.qcow2", "-b base.raw -F raw sub/in.qcow2", "-b '' alone.qcow2", "-b base.raw -F raw alone.qcow2",
    "-u -b base.raw -F raw alone.qcow2", "-b base.raw -F raw snapshot.qcow2", "-b '' snapshot.qcow2", "-u -b other.raw -F raw bitmap.qcow2",
    "-b other.raw -F raw empty.qcow2", "-b '' mid.qcow2", "-u -b x -F raw raw-data.qcow2", "-u -b '' raw-data.qcow2", "-c -b '' small.qcow2",
    "-u -b " + "n" * 1023 + " -F raw top.qcow2", "-u -b " + "n" * 1024 + " -F raw top.qcow2", "-u -b " + "n" * 500 + " -F raw small.qcow2",
    "-u -b " + "n" * 370 + " -F raw small.qcow2", "-b " + "n" * 200 + " -F raw top.qcow2", "-u -b ä -F raw top.qcow2", "-u -b 'a b' -F raw top.qcow2",
]
IMAGES = ["top.qcow2", "mid.qcow2", "lost.qcow2", "alone.qcow2", "snapshot.qcow2", "bitmap.qcow2", "raw-data.qcow2", "small.qcow2", "empty.qcow2",
          "sub/in.qcow2"]


def prepare_bases(world):
    world.make("create", "-q", "-f", "raw", "base.raw", "1M")
    world.write("base.raw", "write -P 1 0 700k", options=["-f", "raw"])
    world.make("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "mid.qcow2")
    world.write("mid.qcow2", "write -P 2 64k 128k", "write -z 320k 64k", "write -P 2 500k 3k")
    world.make("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "sibling.qcow2")
    world.write("sibling.qcow2", "write -P 6 96k 64k", "write -P 1 600k 20k")
    world.make("create", "-q", "-f", "raw", "other.raw", "1M")
    world.write("other.raw", "write -P 1 0 200k", "write -P 9 200k 100k", "write -P 7 900k 1k", options=["-f", "raw"])
    world.make("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "other.qcow2", "1M")
    world.write("other.qcow2", "write -P 1 0 100k", "write -P 8 100k 400k", "write -z 800k 100k")
    world.make("create", "-q", "-f", "qcow2", "longer.qcow2", "4M")
    world.write("longer.qcow2", "write -P 5 0 4M")
    world.make("create", "-q", "-f", "raw", "shorter.raw", "300k")
    world.write("shorter.raw", "write -P 1 0 300k", options=["-f", "raw"])
    world.make("convert", "-O", "qcow2", "mid.qcow2", "copy.qcow2")
    world.make("convert", "-c", "-O", "qcow2", "mid.qcow2", "packed.qcow2")


def same_contents(world, name, before):
    for side, program in ((world.a, world.subject), (world.b, world.qemu)):
        world.expect(contents(world, side, name) == before, f"{name} reads differently after {program.name}")
        for checker in (world.qemu, world.subject):
            result = checker.run(["check", name], side)
            world.expect(result.code in (0, 63), f"{program.name}, checked by {checker.name}: {result.text()}")


def same_names(world, name):
    mine, wanted = (backing_names(world, name, side) for side in (world.a, world.b))
    world.expect(mine == wanted, f"{name}: {mine} and not {wanted}")


def backing_names(world, name, folder):
    result = world.qemu.run(["info", "-U", "--output=json", name], folder)
    info = json.loads(result.out or b"{}")
    return {key: info.get(key) for key in ("backing-filename", "backing-filename-format", "virtual-size", "snapshots", "format-specific")}


def rebased(overlay, target, size, *options):
    compressed = ["-c"] if "-c" in options else []
    # QEMU has a failed assertion if a cluster has subclusters of its own.
    crashes = overlay == "extended" and compressed
    # Without zero clusters and backing file, QEMU forgets zeroes.
    forgets = overlay.endswith("version 2") and target == "no backing file"

    def run(world):
        prepare_bases(world)
        world.make("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", *OVERLAYS[overlay], "top.qcow2", SIZES[size])
        world.write("top.qcow2", *WRITES)
        before = contents(world, world.folder, "top.qcow2")
        world.copy_to_sides()
        if crashes:
            for side in (world.a, world.b):
                world.run_subject("rebase", *options, *TARGETS[target], "top.qcow2", folder=side)
        else:
            world.compare_on_copies("rebase", *options, *TARGETS[target], "top.qcow2")
        same_contents(world, "top.qcow2", before)
        same_names(world, "top.qcow2")
        # Each goes on with what the other one left.
        for side, program in ((world.a, world.qemu), (world.b, world.subject)):
            if (crashes or forgets) and program is world.qemu:
                program = world.subject
            for goal in (["-b", "other.raw", "-F", "raw"], ["-b", ""]):
                result = program.run(["rebase", *compressed, *goal, "top.qcow2"], side)
                world.expect(result.code == 0, result.text())
                same_contents(world, "top.qcow2", before)
    return Case(f"{overlay}, {size}, onto {target} {' '.join(options)}", run, byre_only=bool(crashes or forgets))


def line(text):
    def run(world):
        prepare_bases(world)
        world.make("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2")
        world.write("top.qcow2", *WRITES)
        (world.folder / "sub").mkdir()
        world.make("create", "-q", "-f", "qcow2", "-b", "../base.raw", "-F", "raw", "sub/in.qcow2")
        world.make("create", "-q", "-f", "raw", "sub/base.raw", "1M")
        world.make("create", "-q", "-f", "raw", "raw.raw", "1M")
        world.make("create", "-q", "-f", "qcow2", "gone", "1M")
        world.make("create", "-q", "-f", "qcow2", "-b", "gone", "-F", "qcow2", "lost.qcow2")
        (world.folder / "gone").unlink()
        world.make("create", "-q", "-f", "qcow2", "alone.qcow2", "1M")
        world.write("alone.qcow2", "write -P 4 100k 100k")
        world.make("create", "-q", "-f", "qcow2", "-b", "other.raw", "-F", "raw", "snapshot.qcow2")
        world.make("snapshot", "-c", "one", "snapshot.qcow2")
        world.write("snapshot.qcow2", "write -P 7 0 128k")
        world.make("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "bitmap.qcow2")
        world.make("bitmap", "--add", "bitmap.qcow2", "b0")
        world.make("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "empty.qcow2")
        world.make("create", "-q", "-f", "qcow2", "-o", "data_file=data,data_file_raw=on", "raw-data.qcow2", "1M")
        world.make("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "-o", "cluster_size=512", "small.qcow2")
        world.copy_to_sides()
        mine = masked(world.subject.run(["rebase", *split(text, world.a)], world.a))
        wanted = masked(world.qemu.run(["rebase", *split(text, world.b)], world.b))
        for result, side in ((mine, world.a), (wanted, world.b)):
            result.err = result.err.replace(bytes(side), b"FOLDER")
        world.equal(["rebase", *split(text, world.b)], mine, wanted)
        if "$PWD" not in text:
            for name in IMAGES:
                same_names(world, name)
        for name in ("top.qcow2", "alone.qcow2", "empty.qcow2", "small.qcow2"):
            if "-u" not in text and "--backing-unsafe" not in text:
                world.expect(contents(world, world.a, name) == contents(world, world.folder, name), f"{name} reads differently")
    return Case(re.sub("n{20,}", lambda name: f"a name of {len(name[0])} bytes", text) or "nothing", run)


def split(text, folder):
    return shlex.split(text.replace("$PWD", str(folder)))


def in_use(image, holder, options):
    """Another program has an image of the old or the new chain open."""
    def run(world):
        prepare_bases(world)
        world.make("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2")
        world.copy_to_sides()
        results = []
        as_format = ["-f", image.split(".")[1]]
        for side, program in ((world.a, world.subject), (world.b, world.qemu)):
            with held_by(world.qemu_io, side, image, *as_format, *holder):
                results.append(program.run(["rebase", *options, "top.qcow2"], side))
        mine, wanted = results
        world.expect((mine.code, mine.err, mine.out) == (wanted.code, wanted.err, wanted.out), mine.text() + wanted.text())
        same_names(world, "top.qcow2")
    return Case(f"{image} in use {' '.join(holder)}, {' '.join(options)}", run)


def read_only(world):
    prepare_bases(world)
    world.make("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2")
    world.copy_to_sides()
    for side in (world.a, world.b):
        for name in ("mid.qcow2", "base.raw", "other.raw"):
            (side / name).chmod(0o444)
    before = contents(world, world.a, "top.qcow2")
    world.compare_on_copies("rebase", "-b", "other.raw", "-F", "raw", "top.qcow2")
    same_contents(world, "top.qcow2", before)


def read_only_image(world):
    prepare_bases(world)
    world.make("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2")
    world.copy_to_sides()
    for side in (world.a, world.b):
        (side / "top.qcow2").chmod(0o444)
    for arguments in (["-b", ""], ["-u", "-b", "x", "-F", "raw"]):
        world.compare_on_copies("rebase", *arguments, "top.qcow2", as_user=True)
    for side in (world.a, world.b):
        (side / "other.raw").chmod(0o000)
        (side / "top.qcow2").chmod(0o644)
    world.compare_on_copies("rebase", "-b", "other.raw", "-F", "raw", "top.qcow2", as_user=True)


def no_room(options):
    """A file that may not grow as far as needed; with room, the same command does what is left."""
    def run(world):
        prepare_bases(world)
        world.make("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2")
        world.write("top.qcow2", *WRITES)
        before = contents(world, world.folder, "top.qcow2")
        world.copy_to_sides()
        world.compare_on_copies("rebase", *options, "top.qcow2", file_size=700 * 1024)
        for side in (world.a, world.b):
            world.expect(contents(world, side, "top.qcow2") == before, "it reads differently")
        world.compare_on_copies("rebase", *options, "top.qcow2")
        same_contents(world, "top.qcow2", before)
    return Case(f"no room: {' '.join(options)}", run)


FULL_DISK = """
mkdir -p full && mount -t tmpfs -o size=500k none full && cp top.qcow2 full || exit 99
(exec -a qemu-img "$0" rebase -b "" full/top.qcow2)
echo "exit code $?"
{qemu} convert -O raw full/top.qcow2 before.raw && mount -o remount,size=20m full || exit 99
(exec -a qemu-img "$0" rebase -b "" full/top.qcow2)
echo "exit code $?"
{qemu} convert -O raw full/top.qcow2 after.raw && {qemu} check -q full/top.qcow2
"""


def full_disk(world):
    """QEMU changes the backing file although it cannot write the tables, and exits with 0: the disk reads differently."""
    prepare_bases(world)
    world.make("create", "-q", "-f", "qcow2", "-b", world.folder / "mid.qcow2", "-F", "qcow2", "top.qcow2")
    world.write("top.qcow2", *WRITES)
    before = contents(world, world.folder, "top.qcow2")
    world.copy_to_sides()
    script = FULL_DISK.format(qemu=world.qemu.path)
    result = subprocess.run([*own_mounts(), "bash", "-c", script, world.subject.path], cwd=world.a, capture_output=True,
                            timeout=60, check=False, env={**os.environ, "LC_ALL": "C"})
    if result.returncode == 99:
        raise Skip("no tmpfs can be mounted here")
    for name in ("before.raw", "after.raw"):
        world.expect((world.a / name).read_bytes() == before, f"{name} differs: {result}")
    world.expect(result.stdout == b"exit code 1\nexit code 0\n" and b"No space left on device" in result.stderr, result)


def with_another_format(world):
    """QEMU finds the file in the chain, copies nothing, and the disk reads differently afterwards."""
    prepare_bases(world)
    world.make("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2")
    before = contents(world, world.folder, "top.qcow2")
    world.run_subject("rebase", "-b", "mid.qcow2", "-F", "raw", "top.qcow2")
    world.expect(contents(world, world.folder, "top.qcow2") == before, "it reads differently")


def onto_itself(world):
    prepare_bases(world)
    world.make("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2")
    (world.folder / "link").symlink_to("top.qcow2")
    for line in ("-b ./top.qcow2 -F raw", "-u -b top.qcow2 -F qcow2", "-b link -F raw"):
        world.run_subject("rebase", *line.split(), "top.qcow2", code=1)
    names = backing_names(world, "top.qcow2", world.folder)
    world.expect(names["backing-filename"] == "mid.qcow2", names)


def warns_of_snapshots(world):
    prepare_bases(world)
    world.make("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2")
    world.make("snapshot", "-c", "one", "top.qcow2")
    world.write("top.qcow2", "write -P 3 0 1M")
    world.make("snapshot", "-c", "whole", "top.qcow2")
    result = world.run_as_byre("rebase", "-b", "other.raw", "-F", "raw", "top.qcow2")
    world.expect(b"'one'" in result.err and b"'whole'" not in result.err, result.text())
    result = world.run_as_byre("rebase", "-b", "other.raw", "-F", "raw", "top.qcow2")
    world.expect(result.err == b"", result.text())


def cases():
    for overlay in OVERLAYS:
        for target in TARGETS:
            yield rebased(overlay, target, "1M")
    for target in TARGETS:
        for size in ("no multiple", "longer than the base"):
            yield rebased("top", target, size)
            yield rebased("extended", target, size)
        for overlay in ("top", "small, version 2", "zstd", "extended"):
            yield rebased(overlay, target, "no multiple", "-c")
    for text in ARGUMENTS:
        yield line(text)
    for image in ("top.qcow2", "mid.qcow2", "other.raw", "other.qcow2"):
        for holder in ((), ("-r",)):
            for options in (["-b", "other.qcow2", "-F", "qcow2"], ["-U", "-b", "other.qcow2", "-F", "qcow2"], ["-u", "-b", "x", "-F", "raw"]):
                yield in_use(image, holder, options)
    yield Case("read-only backing files", read_only)
    yield Case("an image that may only be read", read_only_image)
    yield Case("a full disk", full_disk, byre_only=True)
    for options in (["-b", ""], ["-b", "other.raw", "-F", "raw"], ["-c", "-b", ""]):
        yield no_room(options)
    yield Case("an image of the chain in another format", with_another_format, byre_only=True)
    yield Case("onto itself", onto_itself, byre_only=True)
    yield Case("snapshots that change are named", warns_of_snapshots, byre_only=True)
