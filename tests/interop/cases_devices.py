# SPDX-License-Identifier: Apache-2.0
"""Loop devices and mounted file systems, compared with QEMU: device_lines/*.txt has the commands. After each line, a
device or file must hold the same disk for qemu-img."""
import copy
import os
import pathlib
import shlex
import shutil
import threading

import cases_io
import cases_lines
import devices
import images
from case import Case
from images import KIB, MIB

HERE = pathlib.Path(__file__).resolve().parent

_lock = threading.Lock()


def sources(world):
    """The directory with the sources of copies; created once."""
    folder = world.folder.parent / "devices-sources"
    with _lock:
        if not folder.exists():
            _make_sources(world, folder.with_suffix(".new"))
            folder.with_suffix(".new").rename(folder)
    return folder


def _make_sources(world, folder):
    folder.mkdir()
    parts = [(0, images.noise(MIB, 1)), (2 * MIB + 4096, images.text(300 * KIB, 2)), (5 * MIB, images.noise(3000, 3)),
             (8 * MIB - 512, images.text(512, 4))]
    images.write_raw(folder / "src.raw", 8 * MIB, parts)
    images.write_raw(folder / "odd.raw", 3 * MIB + 700, [(MIB, images.text(2 * MIB + 700, 5))])
    images.write_raw(folder / "holes.raw", 8 * MIB, [(3 * MIB, images.noise(64 * KIB, 7))])
    images.write_raw(folder / "big.raw", 40 * MIB, [(MIB, images.text(MIB, 6))])

    def make(*arguments):
        world.make(*arguments, folder=folder)

    make("convert", "-f", "raw", "-O", "qcow2", "src.raw", "src.qcow2")
    world.write("src.qcow2", "write -z 6M 1M", folder=folder)
    make("create", "-q", "-f", "qcow2", "full.qcow2", "40M")
    world.write("full.qcow2", "write -q -P 66 0 40M", folder=folder)
    make("create", "-q", "-f", "qcow2", "base.qcow2", "8M")
    world.write("base.qcow2", "write -q -P 17 0 3M", folder=folder)
    make("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "over.qcow2")
    world.write("over.qcow2", "write -q -P 18 1M 100k", "write -q -z 2M 64k", folder=folder)


def add_sources(world):
    for path in sources(world).iterdir():
        for side in (world.a, world.b):
            (side / path.name).symlink_to(path)


def run_line(world, line):
    """Runs `img` and `io` commands, separated by semicolons outside quotes. Returns how to judge what they leave."""
    judge = same_disk
    words = []
    for word in [*shlex.split(line), ";"]:
        if word != ";":
            words.append(word)
            continue
        program, *arguments = words
        words = []
        if program == "io":
            cases_io.compare_on_copies(world, arguments)
            continue
        result = world.compare_on_copies(*arguments)
        if result.code != 0 and arguments[0] in ("create", "convert", "dd", "resize"):
            judge = no_worse
        elif arguments[0] == "commit" and b"Block job failed" in result.err and judge is same_disk:
            judge = partly_committed
    return judge


def header(path):
    file = os.open(path, os.O_RDONLY)
    try:
        return os.pread(file, 104, 0)
    finally:
        os.close(file)


def names_others(image):
    """Whether the header of a qcow2 image names a backing file or has an external data file."""
    return image[8:16] != bytes(8) or (image[7] > 2 and image[79] & 4 != 0)


def is_qcow2(path):
    return header(path)[:4] == b"QFI\xfb"


def same_disk(world, name):
    """For qemu-img: the same bytes, or a sound qcow2 image of the same disk."""
    if not (is_qcow2(world.a / name) and is_qcow2(world.b / name)):
        world.run_qemu("compare", "-f", "raw", "-F", "raw", "a/" + name, "b/" + name)
        return
    for side in (world.a, world.b):
        world.run_qemu("check", "-f", "qcow2", name, folder=side)
    if not names_others(header(world.a / name)):
        world.run_qemu("compare", "-f", "qcow2", "-F", "qcow2", "a/" + name, "b/" + name)
        return
    for side in (world.a, world.b):
        world.make("convert", "-f", "qcow2", "-O", "raw", name, f"guest of {name}", folder=side)
    same_disk(world, f"guest of {name}")


def no_worse(world, name):
    """What a failed command has left: QEMU may leave an incomplete image, the subject must not."""
    if world.subject_is_byre and is_qcow2(world.a / name):
        check = world.qemu.run(["check", "-f", "qcow2", name], world.a)
        world.expect(check.code in (0, 3), f"leaves a damaged image:\n{check.text()}")


def partly_committed(world, name):
    """What a commit that failed half-way has left: the base holds some of the data, the image on top of it reads as before."""
    no_worse(world, name)
    if is_qcow2(world.a / name) and names_others(header(world.a / name)):
        same_disk(world, name)


def judge_files(world, judge):
    """Everything that the two have left, except for the sources."""
    mine, wanted = (sorted(path.name for path in side.iterdir()) for side in (world.a, world.b))
    world.expect(mine == wanted, f"leaves other files: {mine}\nQEMU: {wanted}")
    given = {path.name for path in sources(world).iterdir()}
    for name in wanted:
        if name not in given:
            judge(world, name)


def on_device(group, line, sector_size, is_old, prepare=None, read_only=False):
    def run(world):
        pair = devices.pair(world, sector_size, is_old)
        add_sources(world)
        if prepare is not None:
            for side in (world.a, world.b):
                prepare(world, side)
        try:
            for device in pair:
                device.set_read_only(read_only)
            judge = run_line(world, line)
        finally:
            for device in pair:
                device.set_read_only(False)
        judge_files(world, judge)
    state = ("old " if is_old else "") + ("read-only " if read_only else "")
    return Case(f"{group}: {state}{sector_size}: {line}", run)


def fresh(line, sector_size):
    """A new image reads as zeroes, whatever the device held."""
    def run(world):
        devices.pair(world, sector_size, True)
        add_sources(world)
        run_line(world, line)
        image = line.split()[-2].removeprefix("host_device:")
        images.write_raw(world.a / "zeroes", 32 * MIB, [])
        world.run_qemu("check", "-f", "qcow2", image, folder=world.a)
        world.run_qemu("compare", "-f", "qcow2", "-F", "raw", image, "zeroes", folder=world.a)
        # Zeroes of the sources then need not be written.
        world.run_subject("convert", "-n", "-O", "qcow2", "--target-is-zero", "src.qcow2", image, folder=world.a)
        world.run_qemu("compare", "-f", "qcow2", "-F", "qcow2", image, "src.qcow2", folder=world.a)
    return Case(f"fresh: {sector_size}: {line}", run, byre_only=True)


def filled(sector_size):
    """Requests larger than any hole are done as long as there are free clusters; QEMU finds no place for these."""
    def run(world):
        devices.pair(world, sector_size, True)
        world.run_subject("create", "-q", "-f", "qcow2", "dev", "64M", folder=world.a)
        holes = [f"discard {1 + at}M 64k" for at in range(16)]
        commands = ["write -q -P 1 0 31M", *holes, "write -P 2 40M 1536k", "read -P 1 20M 11M", "read -P 2 40M 1536k"]
        result = world.subject_io.run(["-f", "qcow2", *(word for each in commands for word in ("-c", each)), "dev"],
                                      world.a)
        world.expect(result.code == 0 and b"fail" not in result.out, result.text())
        world.run_qemu("check", "-f", "qcow2", "dev", folder=world.a)
    return Case(f"filled: {sector_size}", run, byre_only=True)


def on_file_system(kind, sector_size, line):
    def run(outer):
        world = copy.copy(outer)
        world.folder = devices.file_system(outer, kind, sector_size)
        try:
            for path in sources(outer).iterdir():
                if path.name in line or path.name.startswith("base"):
                    for side in (world.a, world.b):
                        cases_lines.copy_sparse(path, side / path.name)
            run_line(world, line)
            for path in sorted(world.b.iterdir()):
                same_disk(world, path.name)
        finally:
            shutil.rmtree(world.folder)
    return Case(f"{kind} {sector_size}: {line}", run)


def put(name, format):
    """Puts a source on the device, with QEMU."""
    def prepare(world, side):
        world.make("convert", "-f", format, "-O", format, name, "dev", folder=side)
    return prepare


def lines_of(name):
    for line in (HERE / "device_lines" / f"{name}.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def reading_cases():
    for line in lines_of("read"):
        kind, line = line.split(": ", 1)
        prepare = put(f"src.{kind}", kind)
        for sector_size in (512, 4096):
            yield on_device(f"read {kind}", line, sector_size, sector_size == 4096, prepare)


WRITING = ["io -f raw dev -c 'write -P 1 0 4k'", "io -f raw -r dev -c 'read 0 4k' -c 'write 0 4k'",
           "io -f raw host_device:dev -c 'read 0 4k'", "img convert -n -O raw src.qcow2 dev",
           "img convert -O raw src.qcow2 dev", "img convert -O qcow2 src.qcow2 dev",
           "img convert -n -O raw src.qcow2 host_device:dev", "img create -f raw dev 8M", "img create -f qcow2 dev 8M",
           "img create -f qcow2 -o data_file=dev x 8M", "img dd if=src.raw of=dev", "img check -r all dev",
           "io --image-opts driver=raw,file.driver=host_device,file.filename=dev,auto-read-only=on -c 'read 0 4k'",
           "io --image-opts driver=raw,read-only=on,file.driver=host_device,file.filename=dev -c 'read 0 4k'",
           "io -f raw dev -c 'reopen -r' -c 'read 0 4k'", "io -f raw -r dev -c 'reopen -w' -c 'write 0 4k'",
           "img info dev", "img convert -f raw -O qcow2 dev x", "img map -f raw --output=json dev",
           "img resize -f raw --shrink dev 1M"]


def read_only_cases():
    for sector_size in (512, 4096):
        for line in WRITING:
            yield on_device("refused raw", line, sector_size, True, read_only=True)
        for line in ("io dev -c 'write 0 4k'", "io -r dev -c 'read 0 4k'", "img check -r all dev", "img check dev",
                     "img convert -n -O qcow2 src.raw dev", "img info dev", "img create -f qcow2 -b dev -F qcow2 x",
                     "io -r dev -c 'reopen -w' -c 'write 0 4k'"):
            yield on_device("refused qcow2", line, sector_size, False, put("src.qcow2", "qcow2"), read_only=True)


MODES = ["-t none", "-t writeback", "-t writethrough", "-t directsync", "-t unsafe"]
BACKENDS = ["-i threads", "-i io_uring", "-t none -i native", "-t directsync -i native", "-t none -i io_uring",
            "-t none -d unmap", "-d unmap -z on", "-t none -d unmap -z unmap", "-n"]


def io_line(options, format, requests):
    commands = " ".join(f"-c '{command.strip()}'" for command in requests.split(" ; "))
    return f"io {options} -f {format} dev {commands}"


def io_cases():
    every = list(lines_of("io"))
    for index, requests in enumerate(every):
        for number, options in enumerate([*MODES, *BACKENDS]):
            for format in ("raw", "qcow2"):
                if "truncate" in requests and format == "qcow2":
                    continue
                # Each mode with each request, alternating between devices of both sector sizes.
                sector_size = 4096 if (index + number) % 2 else 512
                line = io_line(options, format, requests)
                if format == "qcow2":
                    line = f"img create -q -f qcow2 dev {'32M' if index == len(every) - 1 else '8M'} ; " + line
                yield on_device("io", line, sector_size, True)




FILE_SYSTEMS = [("tmpfs", 512), ("ext4", 512), ("ext4", 4096), ("xfs", 512), ("xfs", 4096), ("btrfs", 512)]


def cases():
    for line in lines_of("create"):
        yield on_device("create", line, 512, True)
        yield on_device("create", line, 4096, True)
    for line in lines_of("fresh"):
        yield fresh(line, 512)
        yield fresh(line, 4096)
    yield filled(512)
    yield filled(4096)
    for line in lines_of("convert"):
        yield on_device("convert", line, 512, True)
        yield on_device("convert", line, 4096, True)
    for group in ("resize", "change"):
        for line in lines_of(group):
            yield on_device(group, line, 512, True)
            yield on_device(group, line, 4096, True)
    yield from reading_cases()
    yield from read_only_cases()
    yield from io_cases()
    for line in lines_of("files"):
        for kind, sector_size in FILE_SYSTEMS:
            yield on_file_system(kind, sector_size, line)
