# SPDX-License-Identifier: Apache-2.0
"""What happens to a target: the same bytes each time, nothing incomplete, nothing lost that existed."""
import os
import shlex
import signal
import subprocess
import time

import images
from case import Case, digest
from images import KIB, MIB


def source(world, name="disk.raw", size=16 * MIB):
    images.write_raw(world.folder / name, size,
                     [(3 * KIB, images.noise(MIB, 1)), (2 * MIB, images.text(5 * MIB, 2)), (9 * MIB, b"\x55" * MIB),
                      (11 * MIB, images.text(700 * KIB, 3)), (12 * MIB, images.noise(300 * KIB, 4))])


def shell(world, line, program=None, folder=None):
    """A shell line in which $IMG is the subject: a function, since a script that was just written may be busy."""
    program = program or world.subject
    path = shlex.quote(str(program.path.resolve()))
    function = f"program() {{ (exec -a {program.name} {path} \"$@\"); }}\n"
    return subprocess.run(["bash", "-c", function + line], cwd=folder or world.folder, capture_output=True, timeout=60,
                          check=False, env={**os.environ, "LC_ALL": "C", "IMG": "program"})


SAME = ["-c", "-c -o compression_type=zstd", "-c -o cluster_size=4k", "-c -o cluster_size=2M", "-c -S 0", "",
        "-o cluster_size=4k", "-o cluster_size=512", "-o extended_l2=on", "-o data_file=data", "-o preallocation=metadata"]


def same_bytes(options):
    def run(world):
        source(world)
        found = set()
        for workers in (1, 2, 8, 16, 8, 8):
            world.run_subject("convert", "-f", "raw", "-O", "qcow2", "-m", str(workers), *options.split(), "disk.raw",
                              "image.qcow2")
            found.add(digest(world.folder / "image.qcow2"))
        world.expect(len(found) == 1, f"{len(found)} different images")
        world.run_qemu("check", "image.qcow2")
        world.run_qemu("compare", "-f", "raw", "-F", "qcow2", "disk.raw", "image.qcow2")
        world.make("convert", "-f", "raw", "-O", "qcow2", *options.split(), "disk.raw", "qemu.qcow2")
        shown = [world.run_qemu("check", name).out.split(b"\n")[1] for name in ("image.qcow2", "qemu.qcow2")]
        if "-c" not in options.split():
            world.expect(b" 0.00% fragmented" in shown[0] or shown[0] == shown[1], f"{shown}")
    return Case(f"same bytes: {options or 'plain'}", run, byre_only=True)


def same_bytes_over_another(options):
    """Into an image that has other contents, and over a backing file: zeroes need requests there."""
    def run(world):
        source(world)
        world.make("create", "-f", "qcow2", "old.qcow2", "16M")
        world.write("old.qcow2", *[f"write -P 9 {at}M 300k" for at in range(0, 16, 2)])
        world.make("create", "-f", "qcow2", "-b", "old.qcow2", "-F", "qcow2", "over.qcow2")
        world.write("over.qcow2", "write -P 3 1M 700k", "write -z 4M 1M", "write -P 4 6M 3M", "write -z 10M 64k")
        found = set()
        for workers in (1, 2, 8, 16, 8):
            line = (f"cp old.qcow2 new.qcow2 && $IMG convert -n -f raw -O qcow2 -m {workers} {options} disk.raw new.qcow2 && "
                    f"$IMG convert -O qcow2 -B old.qcow2 -F qcow2 -m {workers} {options} over.qcow2 top.qcow2")
            result = shell(world, line)
            world.expect(result.returncode == 0, f"{result}")
            found.add((digest(world.folder / "new.qcow2"), digest(world.folder / "top.qcow2")))
        world.expect(len(found) == 1, f"{len(found)} different images")
        for left, right in (("disk.raw", "new.qcow2"), ("over.qcow2", "top.qcow2")):
            world.run_qemu("check", right)
            world.run_qemu("compare", left, right)
    return Case(f"same bytes over another: {options or 'plain'}", run, byre_only=True)


def same_bytes_through_pipes(world):
    source(world)
    line = ("$IMG convert -f raw -O qcow2 -c disk.raw a && $IMG convert -f raw -O qcow2 -c disk.raw - >b && "
            "cat disk.raw | $IMG convert -f raw -O qcow2 -c - c && cmp a b && cmp a c")
    result = shell(world, line, world.byre)
    world.expect(result.returncode == 0, f"{result}")


def streams(name, line, code, keeps=()):
    """A line with closed or full streams: its exit code, and files that it must not change."""
    def run(world):
        source(world)
        world.make("convert", "-f", "raw", "-O", "qcow2", "disk.raw", "image.qcow2")
        before = [digest(world.folder / kept) for kept in keeps]
        result = shell(world, line)
        world.expect(result.returncode == code, f"{result}")
        for kept, was in zip(keeps, before):
            world.expect(digest(world.folder / kept) == was, f"{kept} has changed")
    return Case(f"streams: {name}", run, byre_only=True)


STREAMS = [
    ("progress with stdin and stdout closed", "$IMG convert -p -O raw image.qcow2 out <&- >&- && cmp disk.raw out", 0, ()),
    ("progress with all closed", "$IMG convert -p -O qcow2 image.qcow2 out <&- >&- 2>&-; $IMG compare disk.raw out", 0, ()),
    ("create with all closed", "$IMG create -f qcow2 out 1M <&- >&- 2>&-; $IMG check out", 0, ()),
    ("an error with stderr closed", "$IMG convert -O raw image.qcow2 gone/out <&- 2>&-", 1, ("image.qcow2",)),
    ("info with stdout closed", "$IMG info image.qcow2 >&-", 1, ("image.qcow2",)),
    ("create with stdout full", "$IMG create -f qcow2 out 1M >/dev/full && $IMG check out", 0, ()),
    ("create with stdout closed", "$IMG create -f qcow2 out 1M >&- && $IMG check out", 0, ()),
    ("convert with stdout full", "$IMG convert -p -O raw image.qcow2 out >/dev/full && cmp disk.raw out", 0, ()),
    ("dd with stdout full", "$IMG dd if=image.qcow2 of=out >/dev/full && cmp disk.raw out", 0, ()),
] + [(f"{command} with stdout full", f"$IMG {command} >/dev/full", 1, ("image.qcow2",))
     for command in ("info image.qcow2", "map image.qcow2", "check image.qcow2", "measure image.qcow2 -O raw",
                     "compare image.qcow2 disk.raw", "--help", "--version")]


def io_with_stderr_closed(world):
    world.make("create", "-f", "qcow2", "image.qcow2", "1M")
    before = digest(world.folder / "image.qcow2")
    shell(world, "$IMG -f qcow2 -c nosuch image.qcow2 <&- 2>&-", world.subject_io)
    world.expect(digest(world.folder / "image.qcow2") == before, "a message was written into the image")


def kept(name, line):
    """A command that fails leaves an existing image unchanged, to the byte."""
    def run(world):
        source(world)
        script = ("$IMG create -q -f qcow2 base 16M && $IMG convert -f raw -O qcow2 disk.raw image.qcow2 && "
                  "$IMG create -q -f qcow2 -b image.qcow2 -F qcow2 over && mkdir saved && cp image.qcow2 disk.raw over base saved && "
                  "ln -s image.qcow2 link")
        world.expect(shell(world, script).returncode == 0, "cannot prepare")
        result = shell(world, line)
        world.expect(result.returncode == 1, f"{result}")
        for file in ("image.qcow2", "disk.raw", "over", "base"):
            was = digest(world.folder / "saved" / file)
            world.expect(digest(world.folder / file) == was, f"{file} has changed: {result}")
    return Case(f"kept: {name}", run, byre_only=True)


KEPT = [(line, f"$IMG {line}") for line in (
    "create -f qcow2 -o data_file=image.qcow2 image.qcow2 1M",
    "create -f qcow2 -o data_file=./image.qcow2 image.qcow2 1M",
    "create -f qcow2 -o data_file=link image.qcow2 1M",
    "create -f qcow2 -o data_file=gone/data image.qcow2 1M",
    "create -f qcow2 -o data_file=/ image.qcow2 1M",
    "create -f qcow2 -b ./image.qcow2 -F qcow2 image.qcow2",
    "create -f qcow2 -b image.qcow2 -F qcow2 link",
    "create -f qcow2 -b over -F qcow2 image.qcow2",
    "create -f qcow2 -u -b ./image.qcow2 -F qcow2 image.qcow2 1M",
    f"create -f qcow2 -u -b {'x' * 1100} -F qcow2 image.qcow2 1M",
    "create -f raw -o preallocation=metadata image.qcow2 1M",
    "create -f raw -o preallocation=full image.qcow2 4000T",
    "create -f raw -o preallocation=falloc image.qcow2 4000T",
    "create -f qcow2 -o preallocation=falloc,cluster_size=2M image.qcow2 200T",
    "create -f qcow2 -o preallocation=full,cluster_size=2M image.qcow2 200T",
    "create -f qcow2 image.qcow2 8E",
    "convert -O qcow2 -B nosuch -F qcow2 base image.qcow2",
    "convert -O qcow2 -B disk.raw -F qcow2 base image.qcow2",
    "convert -O qcow2 -B image.qcow2 -F qcow2 base image.qcow2",
    "convert -O qcow2 -B over -F qcow2 base image.qcow2",
    "convert -O qcow2 -o data_file=image.qcow2 base image.qcow2",
    "convert -O qcow2 -o data_file=gone/data base image.qcow2",
    "convert -O qcow2 -o data_file=base base image.qcow2",
    "convert -O qcow2 -c -o data_file=data base image.qcow2",
    "create -f raw image.qcow2 4000T",
    "create -f qcow2 -o data_file=disk.raw new 4000T",
    "create -f qcow2 -o preallocation=metadata,cluster_size=2M image.qcow2 200T",
    "convert -O qcow2 -t nosuch base image.qcow2",
    "convert -O nosuch base image.qcow2",
    "convert -O qcow2 gone image.qcow2",
    "convert -O raw image.qcow2 image.qcow2",
    "convert -O raw over image.qcow2",
    "convert -U -O raw image.qcow2 image.qcow2",
    "convert -U -O raw image.qcow2 link",
    "convert -U -O qcow2 over image.qcow2",
    "convert -U -O qcow2 -o data_file=image.qcow2 over new",
    "convert -U -n -O qcow2 image.qcow2 link",
    "convert -U -n -O qcow2 over image.qcow2",
    "dd if=image.qcow2 of=image.qcow2",
    "dd -U if=image.qcow2 of=image.qcow2",
    "dd -U if=link of=image.qcow2",
    "dd -U if=over of=image.qcow2",
    "dd -U -f raw -O qcow2 if=disk.raw of=disk.raw")]


def left(name, prepare, arguments, gone=(), there=()):
    """A convert or dd that finds the disk full: what it created is gone, what existed before is not."""
    def run(world):
        source(world)
        world.expect(shell(world, prepare).returncode == 0, "cannot prepare")
        result = world.subject.run(shlex.split(arguments), world.folder, file_size=2 * MIB)
        world.expect(result.code == 1 and b"File too large" in result.err, result.text())
        for file in gone:
            world.expect(not os.path.lexists(world.folder / file), f"{file} is left")
        for file in there:
            world.expect(os.path.lexists(world.folder / file), f"{file} is gone")
    return Case(f"left: {name}", run, byre_only=True)


LEFT = [
    ("a raw image", "true", "convert -O raw disk.raw image", ("image",), ()),
    ("an image", "true", "convert -O qcow2 disk.raw image", ("image",), ()),
    ("an image with a data file", "true", "convert -O qcow2 -o data_file=data disk.raw image", ("image", "data"), ()),
    ("an image with a data file that was there", "touch data", "convert -O qcow2 -o data_file=data disk.raw image",
     ("image",), ("data",)),
    ("an image that was there", "touch image", "convert -O qcow2 disk.raw image", (), ("image",)),
    ("where a link leads", "ln -s image link", "convert -O qcow2 disk.raw link", ("image",), ("link",)),
    ("where a link leads to a file", "touch image; ln -s image link", "convert -O qcow2 disk.raw link", (),
     ("image", "link")),
    ("an image that is not made here", "$IMG create -q -f qcow2 image 16M", "convert -n -O qcow2 disk.raw image", (),
     ("image",)),
    ("a copy by dd", "true", "dd if=disk.raw of=image", ("image",), ()),
    ("a copy by dd over a file", "touch image", "dd if=disk.raw of=image", (), ("image",)),
]


def stopped(world):
    """SIGTERM: the target behind a link goes, and its data file."""
    source(world)
    os.symlink("image", world.folder / "link")
    process = world.subject.start(["convert", "-r", "64k", "-O", "qcow2", "-o", "data_file=data", "disk.raw", "link"],
                                  world.folder)
    data = world.folder / "data"
    while process.poll() is None and not (data.exists() and data.stat().st_size):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    world.expect(process.returncode == -signal.SIGTERM, f"{process.returncode}")
    for file in ("image", "data"):
        world.expect(not (world.folder / file).exists(), f"{file} is left")
    world.expect(os.path.lexists(world.folder / "link"), "the link is gone")


def supported_formats(world):
    out = world.run_subject("--help").out.decode()
    lines = out.split("\n")
    after = lines.index("Supported image formats:")
    world.expect(lines[after + 1] == "" and lines[after + 2].startswith("  "), out)
    for names in (lines[after + 2], next(line for line in lines if line.startswith("Supported formats: "))):
        world.expect({"qcow2", "raw"} <= set(names.split()), names)


def cases():
    for options in SAME:
        yield same_bytes(options)
    for options in ("-c", ""):
        yield same_bytes_over_another(options)
    yield Case("same bytes through pipes", same_bytes_through_pipes, byre_only=True)
    for row in STREAMS:
        yield streams(*row)
    yield Case("streams: io with stderr closed", io_with_stderr_closed, byre_only=True)
    for row in KEPT:
        yield kept(*row)
    for row in LEFT:
        yield left(*row)
    yield Case("left: stopped", stopped, byre_only=True)
    yield Case("help: supported formats", supported_formats, byre_only=True)
