# SPDX-License-Identifier: Apache-2.0
"""Two programs with one image: byre and QEMU exclude each other, and report it with the same message."""
import contextlib
import shlex
import signal
import subprocess
import time

import images
from case import Case, Failure
from images import MIB


@contextlib.contextmanager
def held_by(program, folder, image, *options):
    """A qemu-io has the image open while the block runs."""
    process = program.start([*options, image], folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    try:
        # It answers only once the image is open.
        process.stdin.write(b"length\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if b"iB" not in answer and b"bytes" not in answer:
            raise Failure(f"{program.path} cannot hold {image}: {answer!r}")
        yield process
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b"quit\n")
            process.stdin.close()
        process.wait(timeout=20)
        process.stdout.close()


def tell(process, command):
    """The output of a qemu-io up to its prompt. One command at a time: QEMU looks at more only when yet more arrives."""
    process.stdin.write(f"{command}\n".encode())
    process.stdin.flush()
    return read_to_prompt(process)


def read_to_prompt(process):
    text = b""
    while not text.endswith(b"qemu-io> "):
        more = process.stdout.read1()
        if not more:
            raise Failure(f"it has ended: {text!r}")
        text += more
    return text.decode()


def held_by_qemu(world, image, *options):
    return held_by(world.qemu_io, world.folder, image, *options)


def prepare(world):
    world.make("create", "-f", "qcow2", "base.qcow2", "4M")
    world.write("base.qcow2", "write -P 1 0 1M")
    world.make("create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "image.qcow2")
    world.write("image.qcow2", "write -P 2 1M 1M")
    world.make("create", "-f", "qcow2", "-b", "image.qcow2", "-F", "qcow2", "over.qcow2")
    world.make("create", "-f", "qcow2", "-o", "data_file=data.raw", "data.qcow2", "4M")
    world.make("create", "-f", "raw", "disk.raw", "4M")
    world.make("create", "-f", "qcow2", "other.qcow2", "4M")


COMMANDS = [
    "info {0}", "info -U {0}", "info --output=json {0}", "check {0}", "check -U {0}", "map --output=json {0}",
    "map -U --output=json {0}", "measure -O qcow2 {0}", "measure -U -O qcow2 {0}", "compare {0} disk.raw",
    "compare -U {0} disk.raw", "compare disk.raw {0}", "convert -O raw {0} out", "convert -U -O raw {0} out",
    "convert -n -O qcow2 disk.raw {0}", "convert -n -U -O qcow2 disk.raw {0}", "convert -O qcow2 disk.raw {0}",
    "dd if={0} of=out", "dd -U if={0} of=out", "create -f qcow2 {0} 4M", "create -f raw {0} 4M",
    "create -f qcow2 -b {0} -F qcow2 new", "create -f qcow2 -u -b {0} -F qcow2 new 4M",
    "convert -O qcow2 -B {0} -F qcow2 other.qcow2 new", "info --backing-chain over.qcow2",
    "info -U --backing-chain over.qcow2", "check over.qcow2", "map --output=json over.qcow2",
    "convert -O raw over.qcow2 out", "convert -U -O raw over.qcow2 out", "compare over.qcow2 over.qcow2",
    "info data.qcow2", "check data.qcow2", "convert -O raw data.qcow2 out", "create -f qcow2 -o data_file={0} new 4M",
]


def qemu_holds(image, kind, options, line):
    def run(world):
        prepare(world)
        arguments = shlex.split(line.format(image))
        with held_by_qemu(world, image, *options):
            theirs = world.qemu.run(arguments, world.folder)
            for made in ("out", "new"):
                (world.folder / made).unlink(missing_ok=True)
            ours = world.subject.run(arguments, world.folder)
            world.equal(arguments, ours, theirs)
    return Case(f"QEMU has {image} open {kind}: {line.format(image)}", run)


def wait_until_locked(world, image, process, writer):
    """Waits until QEMU is refused, or the subject has ended. It polls with QEMU's commands: if they are never refused,
    that is the failure."""
    probe = ["-r", "-c", "length", image] if writer else ["-c", "length", image]
    for _ in range(400):
        result = world.qemu_io.run(probe, world.folder)
        if b"lock" in result.err:
            return result
        if process.poll() is not None:
            raise Failure(f"the subject ended with {process.returncode}: {process.stderr.read()!r}")
        time.sleep(0.025)
    raise Failure(f"QEMU was never refused: {result.text()}")


def byre_writes(world):
    """While byre writes an image, no other program opens it. A rate limit keeps it busy until it is stopped, and it
    stays stopped however long the others take."""
    prepare(world)
    (world.folder / "noise.raw").write_bytes(images.noise(6 * MIB, 1))
    process = world.byre.start(["convert", "-r", "1M", "-f", "raw", "-O", "qcow2", "noise.raw", "target.qcow2"],
                               world.folder)
    try:
        refusal = wait_until_locked(world, "target.qcow2", process, writer=True)
        world.expect(b"Failed to get shared \"write\" lock" in refusal.err, refusal.text())
        process.send_signal(signal.SIGSTOP)
        for arguments in (["info", "target.qcow2"], ["check", "target.qcow2"],
                          ["create", "-f", "qcow2", "target.qcow2", "1M"]):
            theirs = world.run_qemu(*arguments, code=1)
            world.equal(arguments, world.subject.run(arguments, world.folder), theirs)
    finally:
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=40)
    world.expect(process.returncode == 0, f"{out!r} {err!r}")
    world.run_qemu("check", "target.qcow2")
    world.run_qemu("compare", "-f", "raw", "noise.raw", "target.qcow2")


def byre_reads(world):
    """While byre reads an image, other programs may read it but not write it."""
    prepare(world)
    world.write("base.qcow2", "write -P 7 0 4M")
    process = world.byre.start(["convert", "-O", "raw", "image.qcow2", "-"], world.folder)
    try:
        for image in ("image.qcow2", "base.qcow2"):
            refusal = wait_until_locked(world, image, process, writer=False)
            world.expect(b"Failed to get \"write\" lock" in refusal.err, refusal.text())
            world.run_qemu("info", image)
            world.compare_on_same_files("info", image)
            world.compare_on_same_files("create", "-f", "qcow2", image, "4M")
    finally:
        out, err = process.communicate(timeout=20)
    world.expect(process.returncode == 0 and len(out) == 4 * MIB, f"{len(out)} bytes, {err!r}")


def byre_names_the_holder(world):
    """Under its own name, byre reports which process holds the lock."""
    prepare(world)
    with held_by_qemu(world, "image.qcow2"):
        result = world.byre.run(["info", "image.qcow2"], world.folder)
    lines = result.err.decode().splitlines()
    world.expect(result.code == 1 and lines[0].startswith("byre: Could not open 'image.qcow2': Failed to get shared"),
                 result.text())
    world.expect("qemu-io" in result.err.decode(), f"the process is not named:\n{result.text()}")


def dd_onto_itself(world):
    """QEMU truncates the file and copies nothing."""
    prepare(world)
    content = images.noise(MIB, 1)
    (world.folder / "disk.raw").write_bytes(content)
    for format in ("raw", "qcow2"):
        result = world.run_subject("dd", "-O", format, "if=disk.raw", "of=./disk.raw", code=1)
        world.expect(b"lock" in result.err, result.text())
        world.expect((world.folder / "disk.raw").read_bytes() == content, "the file has changed")


def cases():
    for line in COMMANDS:
        yield qemu_holds("image.qcow2", "for writing", [], line)
        yield qemu_holds("image.qcow2", "for reading", ["-r"], line)
    for line in COMMANDS[:12] + COMMANDS[24:31]:
        yield qemu_holds("base.qcow2", "for reading", ["-r"], line)
    for line in COMMANDS[31:34] + ["convert -O raw disk.raw data.raw", "info data.raw", "convert -n -O raw disk.raw data.raw",
                                   "create -f qcow2 -o data_file=data.raw new 4M"]:
        yield qemu_holds("data.qcow2", "for writing", [], line)
    for line in ("info -f raw disk.raw", "convert -f raw -O qcow2 disk.raw out", "convert -O raw image.qcow2 disk.raw",
                 "convert -n -O raw image.qcow2 disk.raw", "create -f raw disk.raw 1M", "compare disk.raw disk.raw",
                 "dd if=image.qcow2 of=disk.raw", "dd if=disk.raw of=out", "map -f raw disk.raw"):
        yield qemu_holds("disk.raw", "for writing", ["-f", "raw"], line)
        yield qemu_holds("disk.raw", "for reading", ["-f", "raw", "-r"], line)
    yield Case("dd onto itself", dd_onto_itself, byre_only=True)
    yield Case("byre writes", byre_writes, byre_only=True)
    yield Case("byre reads", byre_reads, byre_only=True)
    yield Case("byre names who holds the lock", byre_names_the_holder, byre_only=True)
