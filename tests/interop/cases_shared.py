# SPDX-License-Identifier: Apache-2.0
"""Two programs sharing a resource: a device, an image that is marked dirty, and files whose locks the host refuses."""
import errno
import pathlib
import shlex
import subprocess
import sys

import devices
import qcow2_bytes as qcow2
from case import Case, digest
from cases_locks import held_by, read_to_prompt, tell
from images import MIB, noise

WITHOUT_LOCKS = pathlib.Path(__file__).resolve().parent / "without_locks.py"

AT_A_DEVICE = [
    "img info dev", "img info -U dev", "img check dev", "img check -U dev", "img convert -O raw dev out",
    "img convert -U -O raw dev out", "img convert -n -O qcow2 disk.raw dev", "img convert -O raw disk.raw dev",
    "img create -f qcow2 dev 4M", "img create -f raw dev 4M", "img dd if=dev of=out", "img dd if=disk.raw of=dev",
    "img compare disk.raw dev", "img map --output=json dev", "img create -f qcow2 -o data_file=dev new 4M",
    "img create -f qcow2 -b dev -F qcow2 new", "io -c 'write 0 64k' dev", "io -r -c 'read 0 64k' dev",
    "io -f raw -c 'write 0 512' dev", "io -f raw -r -c 'read 0 512' dev", "io -f raw -c 'write 0 512' host_device:dev"]


def run_both(world, line):
    """Both programs in the same directory, with the same files."""
    program, *arguments = shlex.split(line)
    pair = (world.subject_io, world.qemu_io) if program == "io" else (world.subject, world.qemu)
    found = []
    for one in pair:
        found.append(one.run(arguments, world.a))
        for made in ("out", "new"):
            (world.a / made).unlink(missing_ok=True)
    return arguments, *found


def write_and_flush(process):
    read_to_prompt(process)
    for command in ("write -P 9 0 1M", "flush"):
        tell(process, command)


def at_a_device(holder, options, line):
    """A program has the device open when another one opens it."""
    def run(world):
        devices.pair(world, 512)
        world.make("create", "-f", "qcow2", "dev", "8M", folder=world.a)
        (world.a / "disk.raw").write_bytes(noise(MIB, 1))
        program = world.qemu_io if holder == "QEMU" else world.subject_io
        with held_by(program, world.a, "dev", *options) as process:
            if "-r" not in options:
                write_and_flush(process)
            arguments, ours, theirs = run_both(world, line)
        world.expect(ours.code == theirs.code, f"subject:\n{ours.text()}\nQEMU:\n{theirs.text()}")
        if b"lock" in theirs.err or b"lock" in ours.err:
            mine, wanted = (result.err.replace(b"\n\n", b"\n") for result in (ours, theirs))
            world.expect(mine == wanted, f"subject:\n{ours.text()}\nQEMU:\n{theirs.text()}")
        if "-r" not in options:
            world.run_qemu("check", "dev", folder=world.a)
            kept = world.qemu_io.run(["-r", "-c", "read -P 9 0 1M", "dev"], world.a)
            world.expect(kept.code == 0 and b"failed" not in kept.out, kept.text())
    return Case(f"device, {holder} has it {' '.join(options) or 'for writing'}: {line}", run)


READERS = ["img info -U image", "img check -U image", "img map -U --output=json image", "img convert -U -O raw image out",
           "img measure -U -O qcow2 image", "img compare -U image image", "io -U -r -c 'read 0 64k' image",
           "io -c 'write 0 64k' image", "img check -r all image", "img create -f qcow2 image 1M"]


def dirty_bit(holder, line):
    """An image with lazy refcounts is dirty while its only writer is active: no other program clears the mark."""
    def run(world):
        world.make("create", "-f", "qcow2", "-o", "lazy_refcounts=on", "image", "8M", folder=world.a)
        program = world.qemu_io if holder == "QEMU" else world.subject_io
        with held_by(program, world.a, "image") as process:
            write_and_flush(process)
            before = digest(world.a / "image")
            _, ours, theirs = run_both(world, line)
            image = qcow2.Image(world.a / "image")
            world.expect(image.number(72) & 1 == 1, "it is not marked dirty any more")
            world.expect(digest(world.a / "image") == before, "it has changed")
        world.expect(ours.code == theirs.code, f"subject:\n{ours.text()}\nQEMU:\n{theirs.text()}")
        image = qcow2.Image(world.a / "image")
        world.expect(image.number(72) & 1 == 0, "its writer left it dirty")
        world.run_qemu("check", "image", folder=world.a)
    return Case(f"dirty image, {holder} writes: {line}", run)


# In QEMU, `create` and commands that create files still ask for locks; byre continues without, as for all other
# commands.
UNLOCKED = ["io -c 'write -P 7 0 64k' -c 'read -P 7 0 64k' image", "io -r -c 'read 0 64k' image", "img info image",
            "img check image", "img map --output=json image", "img convert -n -O qcow2 disk.raw image",
            "img compare image disk.raw", "img measure -O qcow2 image",
            "io --image-opts -c 'write 0 64k' driver=qcow2,file.driver=file,file.filename=image,file.locking=auto",
            "io --image-opts -c 'write 0 64k' driver=qcow2,file.driver=file,file.filename=image,file.locking=off"]
REQUIRED = ["io --image-opts -c 'write 0 64k' driver=qcow2,file.driver=file,file.filename=image,file.locking=on",
            "io --image-opts -r -c 'read 0 64k' driver=qcow2,file.driver=file,file.filename=image,file.locking=on",
            "img info --image-opts driver=qcow2,file.driver=file,file.filename=image,file.locking=on",
            "io --image-opts -c 'write 0 64k' driver=raw,file.driver=file,file.filename=disk.raw,file.locking=on"]


def run_without_locks(program, error, arguments, folder):
    command = [sys.executable, str(WITHOUT_LOCKS), str(error), f"{program.name}={program.path}", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


def without_locks(error, line):
    def run(world):
        program, *arguments = shlex.split(line)
        found = []
        for side, one in ((world.a, world.subject_io if program == "io" else world.subject),
                          (world.b, world.qemu_io if program == "io" else world.qemu)):
            world.make("create", "-f", "qcow2", "image", "1M", folder=side)
            (side / "disk.raw").write_bytes(noise(MIB, 1))
            result = run_without_locks(one, error, arguments, side)
            # Here QEMU concludes that the kernel has no such locks at all.
            lines = [text for text in result.stderr.splitlines() if b"lock" not in text or b"Failed" in text]
            found.append((result.returncode, lines))
            if result.returncode == 0:
                world.run_qemu("check", "image", folder=side)
        world.expect(found[0] == found[1], f"subject: {found[0]}\nQEMU: {found[1]}")
        refused = "locking=on" in line
        world.expect(any(b"lock" in text for text in found[0][1]) == refused, f"{found[0]}")
    return Case(f"no locks, {errno.errorcode[error]}: {line}", run)


def cases():
    for line in AT_A_DEVICE:
        for holder in ("QEMU", "subject"):
            yield at_a_device(holder, [], line)
            yield at_a_device(holder, ["-r"], line)
    for line in READERS:
        for holder in ("QEMU", "subject"):
            yield dirty_bit(holder, line)
    for error in (errno.ENOLCK, errno.EOPNOTSUPP):
        for line in UNLOCKED + REQUIRED:
            yield without_locks(error, line)
