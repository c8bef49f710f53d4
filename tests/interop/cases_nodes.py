# SPDX-License-Identifier: Apache-2.0
"""Nodes as specified by a tree of options: devices of the host and names with a protocol, each node's own `discard` and
`detect-zeroes`, names with a colon, images that are created on devices."""
import contextlib
import os
import shlex
import subprocess

import images
from case import Case, Skip
from images import KIB, MIB


def losetup(*arguments):
    return subprocess.run(["losetup", *arguments], check=False, capture_output=True, text=True)


@contextlib.contextmanager
def device(folder, name, size, read_only=False):
    """A loop device over a file full of bytes, under a link called `name` in the folder."""
    if os.geteuid() != 0:
        raise Skip("no loop devices without root")
    images.write_raw(folder / "disk-of-device", size, [(0, images.noise(size, 3))])
    made = losetup("-f", "--show", str(folder / "disk-of-device"))
    if made.returncode != 0:
        raise Skip(f"no loop device: {made.stderr.strip()}")
    path = made.stdout.strip()
    try:
        # A device has it from its previous user.
        subprocess.run(["blockdev", "--setro" if read_only else "--setrw", path], check=True)
        (folder / name).symlink_to(path)
        yield
    finally:
        losetup("-d", path)


DEVICE_LINES = [
    "info D", "info file:D", "info host_device:D", "info --output=json host_device:D", "map host_device:D",
    "info --image-opts driver=host_cdrom,filename=D", "info --image-opts driver=file,filename=D",
    "info --image-opts driver=host_device,filename=disk.raw", "info --image-opts driver=host_cdrom,filename=disk.raw",
    "info --image-opts driver=host_device,filename=.", "info --image-opts driver=file,filename=.",
    "info host_device:nosuch", "info host_cdrom:nosuch",
    "create -f raw host_device:D 1M", "create -f qcow2 host_device:D 1M", "create -f raw host_device:D 64M",
    "create -f raw file:D 1M", "create -f qcow2 file:D 1M", "create -f raw D 1M", "create -f qcow2 D 1M",
    "create -f raw host_device:disk.raw 1M", "create -f qcow2 host_device:nosuch/x 1M",
    "convert -f raw -O raw disk.raw host_device:D", "convert -f raw -O qcow2 disk.raw host_device:D",
    "convert -n -f raw -O raw disk.raw host_device:D", "convert -n -f raw -O qcow2 disk.raw host_device:D",
    "convert -f raw -O qcow2 disk.raw file:D", "convert -f raw -O qcow2 disk.raw host_device:nosuch",
    "convert -f raw -O raw disk.raw blkdebug::x", "convert -f raw -O raw disk.raw null-co://",
    "dd -f raw -O raw if=disk.raw of=host_device:D", "dd -f raw -O qcow2 if=disk.raw of=D",
    "dd -f raw -O raw if=disk.raw of=foo:x", "dd -f raw if=host_device:D of=file:y count=1",
    "check -f qcow2 -r all D", "check -f qcow2 D", "compare host_device:D disk.raw",
    "create -f qcow2 -b host_device:D -F raw over", "convert -f raw -O qcow2 -B file:D -F raw disk.raw over",
]
DEVICE_IO_LINES = [
    "-f raw -c 'write 0 512' D", "-f raw -r -c 'read 0 512' D", "-r -f raw -c 'write 0 512' D",
    "-f raw -c 'write 0 512' host_device:D", "-c 'open -r -o driver=raw,file.filename=D' -c 'reopen -w' -c info",
    "--image-opts -c 'write 0 512' driver=host_device,filename=D",
    "--image-opts -c 'write 0 512' driver=host_device,auto-read-only=on,filename=D",
    "--image-opts -c 'write 0 512' driver=raw,file.driver=host_device,file.filename=D",
    "-r -c info --image-opts driver=host_cdrom,filename=D",
]


def device_case(line, read_only, of_io):
    arguments = shlex.split(line)

    def run(world):
        with contextlib.ExitStack() as stack:
            for side in (world.a, world.b):
                images.write_raw(side / "disk.raw", MIB, [(0, images.text(64 * KIB, 1))])
                stack.enter_context(device(side, "D", 8 * MIB, read_only))
            if of_io:
                theirs = world.qemu_io.run(arguments, world.b)
                ours = world.subject_io.run(arguments, world.a)
                # Times differ.
                keep = [line for line in theirs.out.splitlines() if b" ops; " not in line]
                mine = [line for line in ours.out.splitlines() if b" ops; " not in line]
                world.expect((mine, ours.err, ours.code) == (keep, theirs.err, theirs.code),
                             f"subject:\n{ours.text()}\nQEMU:\n{theirs.text()}")
            else:
                ours = world.compare_on_copies(*arguments)
            made = [sorted(path.name for path in side.iterdir()) for side in (world.a, world.b)]
            # byre removes what a failed conversion has created.
            if world.subject_is_byre and arguments[0] == "convert" and ours.code != 0 and "over" in made[1]:
                made[1].remove("over")
            world.expect(made[0] == made[1], f"leaves other files: {made}")
    kind = "read-only device" if read_only else "device"
    return Case(f"{kind}: {'io ' if of_io else ''}{line}", run)


FILE = "driver=file,filename=f"
RAW = "driver=raw,file.driver=file,file.filename=f"
BLKDEBUG = "driver=blkdebug,image.driver=file,image.filename=f"
RAW_ON_BLKDEBUG = "driver=raw,file.driver=blkdebug,file.image.driver=file,file.image.filename=f"
COPY_ON_READ = "driver=copy-on-read,file.driver=raw,file.file.filename=f"
SPECS = (
    [FILE + more for more in ("", ",discard=unmap", ",discard=ignore", ",detect-zeroes=on", ",detect-zeroes=unmap",
                              ",detect-zeroes=unmap,discard=unmap")] +
    [RAW + more for more in ("", ",discard=ignore", ",file.discard=ignore", ",file.discard=unmap",
                             ",file.detect-zeroes=unmap", ",file.detect-zeroes=on")] +
    [BLKDEBUG + more for more in ("", ",discard=ignore", ",image.discard=ignore", ",discard=ignore,image.discard=unmap",
                                  ",discard=unmap,image.discard=ignore", ",detect-zeroes=unmap", ",opt-discard=64k",
                                  ",image.detect-zeroes=unmap", ",opt-discard=1M", ",max-discard=64k,opt-discard=32k")] +
    [RAW_ON_BLKDEBUG + more for more in ("", ",file.discard=ignore", ",file.image.discard=ignore",
                                         ",file.opt-discard=1M", ",file.detect-zeroes=unmap")] +
    [COPY_ON_READ + more for more in ("", ",discard=ignore", ",file.discard=ignore", ",file.file.discard=ignore",
                                      ",detect-zeroes=unmap", ",file.file.detect-zeroes=unmap")])
REQUESTS = ["discard 0 512k", "write -z 0 512k", "write -z -u 0 512k", "write -P 0 0 512k"]


def policy_case(spec, discard):
    """The space that the file takes after each request is the same as after QEMU's."""
    def run(world):
        for request in REQUESTS:
            sizes = []
            for side, program in ((world.b, world.qemu_io), (world.a, world.subject_io)):
                images.write_raw(side / "f", MIB, [(0, images.noise(MIB, 5))])
                result = program.run([*discard, "--image-opts", "-c", request, spec], side)
                sizes.append((result.code, result.err, (side / "f").stat().st_blocks // 128))
                (side / "f").unlink()
            world.expect(sizes[0] == sizes[1], f"{request}: QEMU {sizes[0]}, subject {sizes[1]}")
    return Case(f"policy: {' '.join(discard)} {spec}", run)


COLON_LINES = [
    "info file:c:d", "info --output=json file:c:d", "info ./c:d", "map file:c:d", "info host_device:c:d", "info c:d",
    "create -f qcow2 -b file:c:d -F raw over", "create -f qcow2 file:new:x 1M", "convert -O qcow2 file:c:d file:new:x",
    "create -f raw file:new:x 1M", "info file:o:v", "info --backing-chain file:o:v",
    "info --output=json --backing-chain file:o:v", "check file:o:v", "map --output=json file:o:v",
    "compare file:o:v file:c:d", "info sub/inner", "info --backing-chain sub/inner",
    "compare sub/inner c:d", "compare sub/inner sub/c:d", "convert -O raw sub/inner out", "measure -O qcow2 file:c:d",
    "convert -O raw file:nosuch:x y", "dd if=file:c:d of=file:z:z", "info 'json:{\"driver\":\"file\",\"filename\":\"c:d\"}'",
]


def colon_case(line):
    arguments = shlex.split(line)

    def run(world):
        images.write_raw(world.folder / "c:d", MIB, [(0, images.text(64 * KIB, 1))])
        (world.folder / "sub").mkdir()
        images.write_raw(world.folder / "sub" / "c:d", MIB, [(0, images.text(64 * KIB, 2))])
        world.make("create", "-f", "qcow2", "-b", "file:c:d", "-F", "raw", "file:o:v")
        world.make("create", "-u", "-f", "qcow2", "-b", "file:c:d", "-F", "raw", "sub/inner", "1M")
        world.copy_to_sides()
        world.compare_on_copies(*arguments)
        made = [sorted(path.name for path in side.iterdir()) for side in (world.a, world.b)]
        world.expect(made[0] == made[1], f"leaves other files: {made}")
    return Case(f"colon: {line}", run)


def cases():
    for line in COLON_LINES:
        yield colon_case(line)
    for read_only in (False, True):
        for line in DEVICE_LINES:
            yield device_case(line, read_only, False)
        for line in DEVICE_IO_LINES:
            yield device_case(line, read_only, True)
    for spec in SPECS:
        for discard in ([], ["-d", "unmap"], ["-d", "ignore"]):
            yield policy_case(spec, discard)
