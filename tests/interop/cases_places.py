# SPDX-License-Identifier: Apache-2.0
"""Files as they occur in practice: odd names, no permission, full disks, huge disks, pipes."""
import json
import os
import shlex
import subprocess

import images
from case import Case, Skip, digest
from images import GIB, KIB, MIB

NAMES = ["with blanks in it.qcow2", "quote'and\"quote.qcow2", "new\nline.qcow2", "tab\tand\x01control.qcow2",
         "ünïcödé-日本.qcow2", "percent%s%n.qcow2", "back\\slash.qcow2", "comma,and=equals.qcow2", "#hash?query.qcow2",
         "./-dash.qcow2", "./colon:in:name.qcow2", "notutf8-\udcff\udcfe.qcow2", "x" * 250, "json{}.qcow2", "a&b<c>d.qcow2",
         "$dollar `tick`.qcow2", "...qcow2", "trailing ", " leading"]


def odd_name(name):
    def run(world):
        world.compare_on_copies("create", "-f", "qcow2", name, "1M")
        for side in (world.a, world.b):
            world.write(name, "write -P 1 0 64k", folder=side)
        for arguments in (["info", name], ["info", "--output=json", name], ["check", name],
                          ["check", "--output=json", name], ["map", name], ["map", "--output=json", name],
                          ["convert", "-O", "qcow2", name, "copy"], ["compare", name, "copy"],
                          ["measure", "-O", "qcow2", name], ["create", "-f", "qcow2", "-b", name, "-F", "qcow2", "over"],
                          ["info", "over"], ["info", "--output=json", "over"],
                          ["info", "--backing-chain", "--output=json", "over"], ["map", "over"],
                          ["map", "--output=json", "over"], ["convert", "-O", "raw", "copy", name + ".raw"],
                          ["create", "-f", "qcow2", "-o", f"data_file={name.replace(',', ',,')}.d", "with-data", "1M"],
                          ["info", "with-data"], ["info", "--output=json", "with-data"],
                          ["dd", f"if={name}", "of=dd.raw", "bs=64k"], ["info", name + ".gone"]):
            world.compare_on_copies(*arguments)
        for made in ("copy", "over"):
            world.run_qemu("check", made, folder=world.a)
    return Case(f"name {name[:40].encode('unicode_escape', 'surrogateescape').decode()}", run)


def permissions(name, prepare, command_lines):
    def run(world):
        if os.geteuid() == 0 and subprocess.run(
                ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "true"], check=False).returncode:
            raise Skip("root, and its rights to every file cannot be given up")
        for side in (world.a, world.b):
            world.make("create", "-f", "qcow2", "image.qcow2", "1M", folder=side)
            world.make("create", "-f", "raw", "disk.raw", "1M", folder=side)
            (side / "folder").mkdir()
            world.make("create", "-f", "qcow2", "folder/inner.qcow2", "1M", folder=side)
            world.make("create", "-f", "qcow2", "-b", "folder/inner.qcow2", "-F", "qcow2", "over.qcow2", folder=side)
            world.make("create", "-f", "qcow2", "-o", "data_file=folder/data", "data.qcow2", "1M", folder=side)
            prepare(side)
        for line in command_lines:
            world.compare_on_copies(*shlex.split(line), as_user=True)
    return Case(f"permissions: {name}", run)


LOOK = ["info image.qcow2", "info --output=json image.qcow2", "check image.qcow2", "map --output=json image.qcow2",
        "convert -O raw image.qcow2 x", "compare image.qcow2 disk.raw", "measure -O qcow2 image.qcow2",
        "dd if=image.qcow2 of=y", "convert -n -O qcow2 disk.raw image.qcow2", "create -f qcow2 image.qcow2 1M",
        "convert -O qcow2 disk.raw image.qcow2"]
INNER = ["info over.qcow2", "info --backing-chain over.qcow2", "check over.qcow2", "map --output=json over.qcow2",
         "convert -O raw over.qcow2 x", "create -f qcow2 -b over.qcow2 -F qcow2 new.qcow2", "info data.qcow2",
         "check data.qcow2", "convert -O raw data.qcow2 x", "create -f qcow2 folder/new.qcow2 1M",
         "convert -O qcow2 disk.raw folder/new.qcow2", "create -f qcow2 -o data_file=folder/new.data new.qcow2 1M"]


def limited(name, limit, arguments):
    """A file that may not grow over `limit` bytes: simulates a full disk, or a quota."""
    def run(world):
        images.write_raw(world.folder / "disk.raw", 8 * MIB, [(0, images.noise(4 * MIB, 1)), (5 * MIB, images.text(MIB, 2))])
        world.copy_to_sides()
        results = [program.run(["convert", "-f", "raw", *arguments, "disk.raw", "image"], side, file_size=limit)
                   for program, side in ((world.qemu, world.b), (world.subject, world.a))]
        theirs, ours = results
        world.expect(theirs.code == 1, f"the limit did not bite:\n{theirs.text()}")
        world.expect(ours.code == 1 and ours.err.startswith(b"qemu-img: "), ours.text())
        world.expect(b"File too large" in ours.err, f"it does not say why:\n{ours.text()}")
        no_corruption(world, world.a / "image")
    return Case(f"file limit of {limit}: {name}", run)


def no_corruption(world, path):
    """What a failed command has left is gone, or does not open, or is sound except for leaks."""
    if path.exists() and path.read_bytes()[:4] == b"QFI\xfb":
        check = world.qemu.run(["check", "-f", "qcow2", path], world.folder)
        world.expect(check.code in (0, 1, 3), f"left a corrupt image:\n{check.text()}")


_SMALL_DISK = """
set -u
mkdir -p full && mount -t tmpfs -o size={size} none full || exit 99
(exec -a qemu-img "$0" "$@")
echo "exit code $?"
if [ -e full/image ]; then {qemu} check -f qcow2 full/image >/dev/null 2>&1; echo "check $?"; fi
"""


def own_mounts():
    """A command that runs another one where it can mount file systems that no other process sees: as a user who is root
    in a namespace, or as root where that is not allowed (in a chroot)."""
    for command in (["unshare", "-Urm"], ["unshare", "-m"]):
        if subprocess.run([*command, "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return command
    raise Skip("no namespaces here to mount a small disk in")


def full_disk(size, arguments):
    """A disk of its own that is too small."""
    def run(world):
        unshare = own_mounts()
        images.write_raw(world.folder / "disk.raw", 8 * MIB,
                         [(0, images.noise(4 * MIB, 1)), (5 * MIB, images.text(MIB, 2))])
        world.copy_to_sides()
        script = _SMALL_DISK.format(size=size, qemu=world.qemu.path)
        results = []
        for program, side in ((world.qemu, world.b), (world.subject, world.a)):
            result = subprocess.run([*unshare, "bash", "-c", script, program.path, *arguments],
                                    cwd=side, capture_output=True, timeout=60, check=False,
                                    env={**os.environ, "LC_ALL": "C"})
            if result.returncode == 99:
                raise Skip("no tmpfs can be mounted here")
            results.append(result)
        theirs, ours = results
        lines = ours.stdout.decode().splitlines()
        world.expect(b"exit code 1" in theirs.stdout, f"the disk is not too small: {theirs}")
        world.expect("exit code 1" in lines and b"No space left on device" in ours.stderr, f"{ours}\n{theirs}")
        check = [line for line in lines if line.startswith("check ")]
        world.expect(check in ([], ["check 0"], ["check 1"], ["check 3"]), f"left a corrupt image: {ours}")
    return Case(f"disk of {size}: {' '.join(arguments)}", run)


def huge(name, create, writes, commands):
    """Work on a huge disk costs as much as it contains, not as its size."""
    def run(world):
        world.make(*create)
        world.write(create[-2], *writes, options=["-f", create[2]])
        for command in commands:
            world.compare_on_same_files(*shlex.split(command), seconds=60)
    return Case(f"huge: {name}", run)


def huge_cases():
    writes = ["write -P 1 0 64k", "write -P 2 1T 1M", "write -P 3 2198000000000 64k"]
    look = ["info {}", "info --output=json {}", "map --output=json {}", "measure -O qcow2 {}"]

    def on(image, *more):
        return [line.format(image) for line in look] + list(more)

    yield huge("2 TiB raw", ["create", "-f", "raw", "disk.raw", "2T"], writes,
               on("disk.raw", "convert -O qcow2 disk.raw image", "check image", "compare disk.raw image",
                  "map --output=json --start-offset=1T disk.raw"))
    yield huge("2 TiB qcow2", ["create", "-f", "qcow2", "image", "2T"], writes,
               on("image", "check image", "convert -O qcow2 image copy", "convert -O raw image disk.raw",
                  "compare image copy", "compare image disk.raw"))
    yield huge("2 TiB qcow2 of 4 KiB clusters", ["create", "-f", "qcow2", "-o", "cluster_size=8k", "image", "2T"], writes,
               on("image", "check image", "convert -O qcow2 image copy"))
    yield huge("15 TiB raw", ["create", "-f", "raw", "disk.raw", "15T"], writes,
               on("disk.raw", "convert -O qcow2 disk.raw image", "compare disk.raw image"))
    yield huge("1 PiB qcow2", ["create", "-f", "qcow2", "-o", "cluster_size=2M", "image", "1P"], writes,
               on("image", "convert -O qcow2 -o cluster_size=2M image copy", "compare image copy"))
    yield huge("2 EiB qcow2", ["create", "-f", "qcow2", "-o", "cluster_size=2M", "image", "2E"], writes[:1],
               ["info image", "info --output=json image", "map --output=json --max-length=1P image",
                "convert -O raw image disk.raw"])


def shell(world, line):
    """Runs a line of the shell in which `byre` is the subject under that name."""
    function = f"byre() ( exec -a byre {shlex.quote(str(world.subject.path))} \"$@\" ); "
    return subprocess.run(["bash", "-c", function + line], cwd=world.folder, capture_output=True, timeout=60,
                          check=False)


def pipe(name, line, wanted):
    """byre's own: `-` is standard input or output. `wanted` is what the result must equal."""
    def run(world):
        images.write_raw(world.folder / "disk.raw", 3 * MIB + 512, [(0, images.text(MIB, 1)), (2 * MIB, images.noise(100000, 2))])
        world.make("convert", "-f", "raw", "-O", "qcow2", "disk.raw", "disk.qcow2")
        world.make("convert", "-f", "raw", "-O", "qcow2", "-c", "disk.raw", "small.qcow2")
        result = shell(world, "set -o pipefail; " + line)
        world.expect(result.returncode == 0, f"{line}\n{result.stderr.decode(errors='replace')}")
        if wanted == "raw":
            world.expect(digest(world.folder / "out") == digest(world.folder / "disk.raw"), "bytes differ")
        else:
            world.run_qemu("check", "-f", "qcow2", "out")
            world.run_qemu("compare", "-f", "raw", "-F", "qcow2", "disk.raw", "out")
    return Case(f"pipe: {name}", run, byre_only=True)


PIPES = {
    "raw to qcow2": ("cat disk.raw | byre convert -f raw -O qcow2 - out", "qcow2"),
    "raw to qcow2, both": ("cat disk.raw | byre convert -f raw -O qcow2 - - | cat > out", "qcow2"),
    "raw to raw": ("cat disk.raw | byre convert -f raw -O raw - - | cat > out", "raw"),
    "qcow2 to raw": ("cat disk.qcow2 | byre convert -f qcow2 -O raw - out", "raw"),
    "qcow2 to raw, both": ("cat disk.qcow2 | byre convert -f qcow2 -O raw - - | cat > out", "raw"),
    "compressed to raw, both": ("cat small.qcow2 | byre convert -f qcow2 -O raw - - | cat > out", "raw"),
    "file to compressed": ("byre convert -O qcow2 -c disk.qcow2 - | cat > out", "qcow2"),
    "raw to compressed, both": ("cat disk.raw | byre convert -f raw -O qcow2 -c - - | cat > out", "qcow2"),
    "zstd": ("cat disk.raw | byre convert -f raw -O qcow2 -c -o compression_type=zstd - - | cat > out", "qcow2"),
    "small clusters": ("cat disk.raw | byre convert -f raw -O qcow2 -o cluster_size=512 - - | cat > out", "qcow2"),
    "slow writer": ("(head -c 700000 disk.raw; sleep 0.2; tail -c +700001 disk.raw) | byre convert -f raw -O qcow2 - - "
                    "| cat > out", "qcow2"),
    "chained": ("cat disk.raw | byre convert -f raw -O qcow2 - - | byre convert -f qcow2 -O qcow2 -c - - | "
                "byre convert -f qcow2 -O raw - - | cat > out", "raw"),
}


def closed_pipe(world):
    """The reader goes away: an error, no crash."""
    images.write_raw(world.folder / "disk.raw", 40 * MIB, [(0, images.noise(20 * MIB, 2))])
    result = shell(world, "byre convert -f raw -O raw disk.raw - | head -c 1000 >/dev/null; echo ${PIPESTATUS[0]}")
    world.expect(result.stdout.strip() in (b"1", b"141"), str(result))


def progress_lines(world):
    """--progress=json: each line is an object, the last reports completion."""
    images.write_raw(world.folder / "disk.raw", 8 * MIB, [(0, images.noise(4 * MIB, 2))])
    result = world.run_as_byre("convert", "--progress=json", "-f", "raw", "-O", "qcow2", "disk.raw", "image")
    lines = [json.loads(line) for line in (result.out + result.err).decode().splitlines()]
    world.expect(lines and all(isinstance(line, dict) for line in lines), result.text())


def cases():
    for name in NAMES:
        yield odd_name(name)
    yield permissions("unreadable", lambda side: (side / "image.qcow2").chmod(0), LOOK)
    yield permissions("read-only", lambda side: (side / "image.qcow2").chmod(0o444), LOOK)
    yield permissions("write-only", lambda side: (side / "image.qcow2").chmod(0o222), LOOK)
    yield permissions("a folder that cannot be entered", lambda side: (side / "folder").chmod(0), INNER)
    yield permissions("a folder that cannot be written", lambda side: (side / "folder").chmod(0o555), INNER)
    yield permissions("an unreadable backing file", lambda side: (side / "folder/inner.qcow2").chmod(0), INNER)
    yield permissions("an unreadable data file", lambda side: (side / "folder/data").chmod(0), INNER)
    yield permissions("a read-only data file", lambda side: (side / "folder/data").chmod(0o444), INNER)
    for limit in (256 * KIB, 1 * MIB, 3 * MIB):
        for arguments in (["-O", "qcow2"], ["-O", "qcow2", "-c"], ["-O", "qcow2", "-o", "cluster_size=512"],
                          ["-O", "qcow2", "-o", "preallocation=metadata"], ["-O", "raw"],
                          ["-O", "qcow2", "-o", "data_file=d"], ["-O", "qcow2", "-m", "16", "-W"],
                          ["-O", "qcow2", "-t", "none"]):
            yield limited(" ".join(arguments), limit, arguments)
    for size in ("64k", "512k", "2m"):
        for arguments in (["convert", "-O", "qcow2", "disk.raw", "full/image"],
                          ["convert", "-O", "qcow2", "-c", "disk.raw", "full/image"],
                          ["convert", "-O", "raw", "disk.raw", "full/disk"],
                          ["convert", "-O", "qcow2", "-o", "cluster_size=512", "disk.raw", "full/image"]):
            yield full_disk(size, arguments)
    yield full_disk("2m", ["create", "-f", "qcow2", "-o", "preallocation=full", "full/image", "8M"])
    yield full_disk("2m", ["create", "-f", "qcow2", "-o", "preallocation=falloc", "full/image", "8M"])
    yield full_disk("64k", ["create", "-f", "qcow2", "full/image", "8M"])
    yield full_disk("2m", ["create", "-f", "raw", "-o", "preallocation=full", "full/disk", "8M"])
    yield full_disk("2m", ["dd", "if=disk.raw", "of=full/disk", "bs=64k"])
    yield from huge_cases()
    for name, (line, wanted) in PIPES.items():
        yield pipe(name, line, wanted)
    yield Case("pipe: the reader goes away", closed_pipe, byre_only=True)
    yield Case("progress as JSON lines", progress_lines, byre_only=True)
