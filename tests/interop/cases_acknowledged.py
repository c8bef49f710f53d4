# SPDX-License-Identifier: Apache-2.0
"""What was acknowledged is kept: after a kill, in the cache modes that promise it; on full disks, after a close. byre
keeps what QEMU keeps."""
import os
import re
import subprocess

from case import Case, Skip
from cases_places import own_mounts
from images import KIB, MIB

# A request, and the first bytes of the disk once it is acknowledged.
REQUESTS = [
    ("a write", ["write -P 90 0 512"], 90),
    ("a large write", ["write -P 90 0 3M"], 90),
    ("a compressed write", ["write -c -P 90 0 64k"], 90),
    ("zeroes", ["write -P 1 0 64k", "flush", "write -z 0 64k"], 0),
    ("zeroes that unmap", ["write -P 1 0 64k", "flush", "write -z -u 0 64k"], 0),
    ("an overwrite", ["write -P 1 0 64k", "flush", "write -P 90 0 512"], 90),
    ("several at a time", ["aio_write -P 90 0 64k", "aio_write -P 91 1M 64k", "aio_flush"], 90),
]
LAYOUTS = [("raw", []), ("qcow2", []), ("qcow2", ["-o", "compat=0.10"]), ("qcow2", ["-o", "lazy_refcounts=on"]),
           ("qcow2", ["-o", "cluster_size=4k"]), ("qcow2", ["-o", "extended_l2=on"]),
           ("qcow2", ["-o", "data_file=data"]), ("qcow2", ["-o", "data_file=data,data_file_raw=on"])]
MODES = [("writethrough", ["-t", "writethrough"], []), ("directsync", ["-t", "directsync"], []),
         ("reopen", [], ["reopen -c writethrough"]), ("fua", [], []),
         ("reopen of native", ["-t", "none", "-i", "native"], ["reopen -c writethrough"])]


def with_fua(command):
    return re.sub(r"^(write|aio_write)\b", r"\1 -f", command)


def killed(request, layout, mode):
    """A kill right after the acknowledgement."""
    name, commands, byte = request
    kind, options = layout
    mode_name, arguments, before = mode
    if mode_name == "fua":
        commands = [with_fua(command) for command in commands]

    def run(world):
        for program, side in ((world.qemu_io, world.b), (world.subject_io, world.a)):
            world.make("create", "-f", kind, *options, "image", "8M", folder=side)
            line = [*arguments, "-f", kind]
            for command in [*before, *commands, "sigraise 9"]:
                line += ["-c", command]
            result = program.run([*line, "image"], side)
            world.expect(result.code == -9, f"it was not killed:\n{result.text()}")
            world.expect(b"failed" not in result.out + result.err, result.text())
            world.run_qemu("convert", "-f", kind, "-O", "raw", "image", "found", folder=side)
            with open(side / "found", "rb") as file:
                found = file.read(512)
            # QEMU loses the mapping of what it compressed.
            if program.path == world.qemu_io.path and "compressed" in name:
                continue
            world.expect(found == bytes([byte]) * 512, f"in {side.name} it is lost: {found[:8]}\n{result.text()}")
        if kind == "qcow2" and "lazy_refcounts=on" not in options:
            check = world.qemu.run(["check", "image"], world.a)
            world.expect(check.code in (0, 3), f"it is not sound:\n{check.text()}")
    return Case(f"killed after {name}, {mode_name}, {kind} {' '.join(options)}", run)


def discarded(layout, mode):
    """A discard is a request like others, and acknowledged like others. QEMU does not make it durable."""
    kind, options = layout
    mode_name, arguments, before = mode

    def run(world):
        world.make("create", "-f", kind, *options, "image", "8M", folder=world.a)
        line = ["-d", "unmap", *arguments, "-f", kind]
        for command in [*before, "write -P 1 0 64k", "flush", "discard 0 64k", "sigraise 9"]:
            line += ["-c", command]
        world.subject_io.run([*line, "image"], world.a)
        found = world.qemu_io.run(["-f", kind, "-c", "read -P 0 0 64k", "image"], world.a)
        world.expect(found.code == 0, f"the old bytes are back:\n{found.text()}")
    return Case(f"killed after a discard, {mode_name}, {kind} {' '.join(options)}", run, byre_only=True)


_FULL = """
set -u
mkdir -p full && mount -t tmpfs -o size={size} none full && {copy} || exit 99
(exec -a qemu-io "$0" "$@" full/image)
echo "exit code $?"
{qemu_img} check full/image >&2
for offset in {offsets}; do
  {qemu_io} -r -c "read -P 7 $offset {length}" full/image >/dev/null 2>&1 && echo "kept $offset"
done
exit 0
"""


def run_full(world, program, side, size, image, commands, offsets, length):
    """(acknowledged offsets, readable offsets) of the requests on a small disk."""
    line = []
    for command in commands:
        line += ["-c", command]
    script = _FULL.format(size=size, copy=f"cp --sparse=always {image} full/image", qemu_img=world.qemu.path,
                          qemu_io=world.qemu_io.path, offsets=" ".join(map(str, offsets)), length=length)
    result = subprocess.run([*own_mounts(), "bash", "-c", script, program.path, *line], cwd=side, capture_output=True,
                            timeout=60, check=False, env={**os.environ, "LC_ALL": "C"})
    if result.returncode == 99:
        raise Skip("no tmpfs can be mounted here")
    text = result.stdout.decode()
    acknowledged = {int(at) for at in re.findall(rf"^wrote {length}/{length} bytes at offset (\d+)$", text, re.M)}
    kept = {int(at) for at in re.findall(r"^kept (\d+)$", text, re.M)}
    return acknowledged, kept, f"{text}{result.stderr.decode()}"


def full(options, size, image_size, step, length, more=()):
    """Requests until the disk is full, and beyond; then a close."""
    offsets = range(0, 32 * step, step)

    def run(world):
        commands = [*more, *(f"write -P 7 {at} {length}" for at in offsets)]
        counts = []
        for program, side in ((world.qemu_io, world.b), (world.subject_io, world.a)):
            world.make("create", "-f", "qcow2", *options, "image", image_size, folder=side)
            acknowledged, kept, text = run_full(world, program, side, size, "image", commands, offsets, length)
            counts.append(len(acknowledged & kept))
            if side == world.a:
                world.expect(acknowledged, f"nothing was acknowledged:\n{text}")
                world.expect(acknowledged <= kept, f"lost are {sorted(acknowledged - kept)}:\n{text}")
                world.expect("ERROR" not in text, text)
        world.expect(counts[1] >= counts[0], f"{counts[1]} requests are kept, by QEMU {counts[0]}")
        world.expect(counts[1] < len(offsets), "the disk was not full")
    return Case(f"full disk: {' '.join(options)}, {length} bytes, every {step}, {len(more)} requests before", run)


def cases():
    for layout in LAYOUTS:
        for request in REQUESTS:
            if request[0] == "a compressed write" and (layout[0] == "raw" or "data_file" in " ".join(layout[1])):
                continue
            for mode in MODES:
                # `write` takes -c or -f.
                if mode[0] != "fua" or request[0] != "a compressed write":
                    yield killed(request, layout, mode)
        if layout[0] == "qcow2" and "compat" not in " ".join(layout[1]):
            for mode in MODES[:3]:
                yield discarded(layout, mode)
    for options, step in (([], 64 * KIB), ([], MIB), (["-o", "cluster_size=4k"], 64 * KIB), (["-o", "compat=0.10"], MIB),
                          (["-o", "extended_l2=on"], MIB), (["-o", "refcount_bits=64"], 2 * MIB),
                          (["-o", "lazy_refcounts=on"], MIB), (["-o", "cluster_size=512"], 256 * KIB)):
        yield full(options, "2m", "64M", step, 64 * KIB)
    yield full([], "2m", "20G", 640 * MIB, 64 * KIB)
    yield full([], "2m", "64M", MIB, 64 * KIB, more=("write -P 1 40M 1M", "discard 40M 1M"))
