# SPDX-License-Identifier: Apache-2.0
"""The shell `qemu-io`: byre under that name and QEMU's, in equal directories. What they print on each stream (times and
rates masked), the exit code, and the resulting disks must be the same."""
import dataclasses
import pathlib
import re
import shlex

import cases_lines
import differences
import images
from case import Case
from images import KIB, MIB

HERE = pathlib.Path(__file__).resolve().parent

# The time of a request, and the rates: in the right form, but different each time.
_REPORT = re.compile(rb"(?m)^([\d.]+ (?:bytes|[KMGTPE]iB), 1 ops; )(?:\d\d\.\d\d sec|\d+:\d\d:\d\d\.\d\d) "
                     rb"\([\d.]+ (?:bytes|[KMGTPE]iB)/sec and \d+\.\d{4} ops/sec\)$")
_MACHINE = re.compile(rb"(?m)^(\d+,1,)\d+:\d\d:\d\d\.\d\d,\d+\.\d{3},\d+\.\d{3}$")


def masked(result):
    out = _MACHINE.sub(rb"\1<time>", _REPORT.sub(rb"\1<time>", result.out))
    return dataclasses.replace(result, out=out)


def compare_on_copies(world, arguments, send=None):
    """Runs both programs, each in its own directory; everything that they print must be the same."""
    theirs = world.qemu_io.run(arguments, world.b, send=send)
    ours = world.subject_io.run(arguments, world.a, send=send)
    compare(world, arguments, ours, theirs)
    return ours


def compare(world, arguments, ours, theirs):
    mine, wanted = differences.apply(["qemu-io", *arguments], world.folder, masked(ours), masked(theirs))
    if (mine.out, mine.err, mine.code) != (wanted.out, wanted.err, wanted.code):
        world.expect(False, f"subject:\n{ours.text()}\nQEMU:\n{theirs.text()}")


def same_disks(world):
    """Every file that one of them left exists on both sides: with the same bytes or, for qcow2, the same disk in the
    same state, sound for both checkers."""
    mine, wanted = cases_lines.names_and_sizes(world.a), cases_lines.names_and_sizes(world.b)
    world.expect(mine == wanted, f"leaves other files: {mine}\nQEMU: {wanted}")
    for name, kind in wanted.items():
        if kind == "qcow2":
            same_image(world, name)
        elif kind != "folder":
            world.expect((world.a / name).read_bytes() == (world.b / name).read_bytes(),
                         f"{name} has other bytes than QEMU's")


def same_image(world, name):
    if (world.a / name).read_bytes() == (world.b / name).read_bytes():
        return
    cases_lines.same_image(world, name)
    world.run_subject("check", name, folder=world.a)
    # Where the bytes are stored is up to each program; but for one file both report the same.
    for side in (world.a, world.b):
        mine, wanted = (program.run(["-r", name, "-c", "map", "-c", "alloc 100k 1M"], side)
                        for program in (world.subject_io, world.qemu_io))
        compare(world, ["map"], mine, wanted)


def prepare(world):
    cases_lines.prepare(world)
    for side in (world.a, world.b):
        (side / "pattern.txt").write_bytes(images.text(1000, 5))


def line_case(group, line):
    if line.startswith("$"):
        arguments = shlex.split(line[1:])
    else:
        arguments = ["a.qcow2"]
        for command in line.split(";"):
            arguments += ["-c", command]

    def run(world):
        prepare(world)
        compare_on_copies(world, arguments)
        same_disks(world)
    return Case(f"{group}: {line}", run)


# Commands through a pipe: a prompt before each line, and nothing is echoed.
PIPES = {
    "two commands": "length\nread 0 512\n",
    "no line end": "length",
    "quit in the middle": "length\nquit\nlength\n",
    "nothing": "",
    "empty lines": "\n\nlength\n",
    "unknown command": "foo\nlength\n",
    "a failure": "read 5M 12\nlength\n",
    "help of nothing": "help foo\n",
    "line end of another system": "length\r\n",
    "a zero byte": "length\0foo\n",
    "blanks": "   \nlength   \n  read  0   16  \n",
    "a tabulator": "read  -v\t0 16\n",
    "a comment": "# comment\nlength\n",
    "flush of requests": "aio_write 0 512\naio_flush\nlength\nquit\n",
    "requests go on meanwhile": "aio_write 0 512\nsleep 300\nlength\nquit\n",
    "close": "close\nlength\n",
    "writes and dumps": "write -P 0x41 0 512\nread -v 0 16\nread -v 505 16\n",
}
PIPES_WITHOUT_IMAGE = {
    "open fails": "open nofile\nlength\n",
    "open and close": "open a.qcow2\nlength\nclose\nlength\nopen a.qcow2\nlength\n",
    "end": "",
}


def pipe_case(name, text, arguments):
    def run(world):
        prepare(world)
        compare_on_copies(world, arguments, send=text.encode())
        same_disks(world)
    return Case(f"pipe: {name}", run)


# Images on which the lists of requests below run.
KINDS = {
    "plain": [],
    "version 2": ["-o", "compat=0.10"],
    "512 byte clusters": ["-o", "cluster_size=512"],
    "4k clusters": ["-o", "cluster_size=4k"],
    "2M clusters": ["-o", "cluster_size=2M"],
    "extended L2": ["-o", "extended_l2=on"],
    "extended L2, 16k clusters": ["-o", "extended_l2=on,cluster_size=16k"],
    "refcounts of 1 bit": ["-o", "refcount_bits=1"],
    "refcounts of 64 bits": ["-o", "refcount_bits=64"],
    "lazy refcounts": ["-o", "lazy_refcounts=on"],
    "zstd": ["-o", "compression_type=zstd"],
    "data file": ["-o", "data_file=disk.data"],
    "raw data file": ["-o", "data_file=disk.data,data_file_raw=on"],
    "preallocated": ["-o", "preallocation=metadata"],
    "backing file": ["-b", "base.qcow2", "-F", "qcow2"],
    "backing file, extended L2": ["-b", "base.qcow2", "-F", "qcow2", "-o", "extended_l2=on"],
    "backing file, version 2": ["-b", "base.qcow2", "-F", "qcow2", "-o", "compat=0.10"],
    "backing file, raw": ["-b", "base.raw", "-F", "raw"],
}
SIZE = 4 * MIB + 512 * 3

REQUESTS = {
    "writes of odd sizes": """write -P 1 0 1; write -P 2 511 2; write -P 3 65535 2; write -P 4 100k 300k
        write -P 5 1M 1M; write -P 6 1023k 2k; writev -P 7 3M 1 2 3 1000 70000; write -P 8 4194304 1536
        write -P 9 4195839 1; read -v 0 16; read -P 5 1047552 1000; flush; length""",
    "zeroes": """write -P 1 0 2M; write -z 0 64k; write -z 65537 3; write -z 100k 300k; write -zu 512k 512k
        write -zu 1234567 76543; write -z 3M 64k; write -zu 3200k 256k; write -z 4194304 1536; flush;
        read -P 0 512k 512k; write -P 2 16k 1k; write -P 3 600k 1k; write -P 4 3M 1k""",
    "discards": """write -P 1 0 3M; discard 0 64k; discard 65537 3; discard 100k 300k; discard 512k 512k
        discard 1234567 76543; discard 3M 64k; discard 4194304 1536; flush; write -P 2 16k 1k
        write -P 3 600k 1k; discard 0 4195840; write -P 4 1M 100k""",
    "zeroes without fallback": """write -P 1 0 2M; write -zn 0 64k; write -zn 64k 1M; write -zn 1M 65k
        write -znu 1500k 300k; read -P 0 0 64k""",
    "requests beside one another": """aio_write -q -P 1 0 1M; aio_write -q -P 2 1M 64k; aio_write -q -P 3 3M 1k
        aio_write -q -z 2M 64k; aio_flush; aio_read -q -P 1 0 1M; aio_read -q -P 2 1M 64k; aio_flush
        aio_write -q -P 4 64k 64k; aio_flush; aio_write -qzu 128k 128k; aio_flush; read -P 0 128k 128k""",
    "growing": """write -P 1 0 64k; write -P 2 4190000 5840; truncate 20M; length; write -P 3 19M 1M
        read -P 0 4195840 1M; truncate 1000M; write -P 4 999M 64k; flush""",
    "machine state": """write -P 1 0 64k; write -b -P 2 0 64k; write -b -P 3 63k 4k; read -b -P 3 63k 4k
        read -b -P 2 0 63k; read -b -P 0 1M 512; read -P 1 0 64k; info""",
    "with FUA": "write -f -P 1 0 64k; write -f -P 2 1M 1; write -fz 64k 64k; writev -f -P 3 2M 1k 1k",
    "reopened": """write -P 1 0 64k; reopen -r; read -P 1 0 64k; write 0 1; reopen -w; write -P 2 32k 64k
        reopen -c none; write -P 3 96k 1; close; length""",
}
# QEMU writes normal clusters after compressed ones of the same process wrongly, so each has its own process.
COMPRESSED = [
    "write -c -P 1 0 64k; write -c -P 2 64k 256k; write -c -s pattern.txt 1M 1M",
    "write -P 3 100 7; write -P 4 128k 64k; write -z 1M 64k; write -zu 1088k 64k",
    "read -P 1 0 100; read -P 3 100 7; read -P 0 1M 128k; discard 192k 64k",
    "write -c -P 6 2M 128k; write -c -P 7 3M 1M",
]
# byre zeroes there without writing, QEMU cannot.
ZEROES_AT_ONCE = {"version 2", "backing file, version 2", "raw data file"}
# Nothing is compressed in data files; QEMU does not compress into allocated clusters; clusters of 2 MiB are larger than
# the requests.
WITHOUT_COMPRESSION = {"data file", "raw data file", "preallocated", "2M clusters"}


def words(requests):
    found = []
    for command in re.split(r"[;\n]", requests):
        if command.strip():
            found += ["-c", command.strip()]
    return found


def make_disk(world, options):
    world.make("create", "-q", "-f", "qcow2", "base.qcow2", str(3 * MIB))
    world.write("base.qcow2", "write -P 11 0 1M", "write -P 12 1500k 1M")
    world.make("convert", "-O", "raw", "base.qcow2", "base.raw")
    (world.folder / "pattern.txt").write_bytes(images.text(1000, 5))
    world.make("create", "-q", "-f", "qcow2", *options, "disk.qcow2", str(SIZE))
    world.copy_to_sides()


def request_case(kind, name):
    def run(world):
        make_disk(world, KINDS[kind])
        compare_on_copies(world, ["disk.qcow2", *words(REQUESTS[name])])
        same_disks(world)
        # Each continues with what the other one left.
        for side in (world.a, world.b):
            other = world.qemu_io if side == world.a else world.subject_io
            result = other.run(["disk.qcow2", *words("write -P 77 300k 300k; write -zu 1M 65k; flush")], side)
            world.expect(result.code == 0, result.text())
        same_disks(world)
    return Case(f"{kind}: {name}", run)


def compressed_case(kind):
    def run(world):
        make_disk(world, KINDS[kind])
        for requests in COMPRESSED:
            compare_on_copies(world, ["disk.qcow2", *words(requests)])
            same_disks(world)
    return Case(f"{kind}: compressed", run)


def internal_snapshots(world):
    """Clusters that a snapshot shares are copied, never written in place."""
    world.make("create", "-q", "-f", "qcow2", "disk.qcow2", str(SIZE))
    world.write("disk.qcow2", "write -P 1 0 1M", "write -z 1M 1M")
    world.make("snapshot", "-c", "before", "disk.qcow2")
    world.copy_to_sides()
    compare_on_copies(world, ["disk.qcow2", *words("write -P 2 32k 64k; write -z 256k 64k; discard 512k 64k; write -P 3 1M 1k")])
    same_disks(world)
    for side in (world.a, world.b):
        world.make("snapshot", "-a", "before", "disk.qcow2", folder=side)
    same_disks(world)


def large_requests(world):
    """Requests of the maximum length, and zeroes beyond that."""
    world.make("create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", "disk.qcow2", "16T")
    world.copy_to_sides()
    compare_on_copies(world, ["disk.qcow2", *words("""write -zn 1T 4G; write -z 2T 2147483136; discard 0 2147483136
        write -zn 0 2T; read -P 0 1T 64M; write -P 1 17592186043904 512; read -v 17592186044400 16
        write 17592186044400 17; alloc 16T; length""")])
    same_disks(world)


def growth_over_a_compressed_end(world):
    """Zeroes of single subclusters next to a compressed cluster: QEMU cannot do this, and gives up. byre hides what the
    longer backing file has there, and QEMU reads the same from the image."""
    make_disk(world, ["-b", "base.raw", "-F", "raw", "-o", "extended_l2=on"])
    world.make("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "-o", "extended_l2=on", "disk.qcow2",
               str(MIB - 10 * KIB), folder=world.a)
    for commands in ("write -c -P 1 960k 54k", "truncate 2M; write -P 2 1100k 1k; flush"):
        result = world.subject_io.run(["disk.qcow2", *words(commands)], world.a)
        world.expect(result.code == 0, result.text())
    reads = words("read -P 11 0 960k; read -P 1 960k 54k; read -P 0 1014k 86k; read -P 2 1100k 1k; read -P 0 1101k 947k")
    for program in (world.subject_io, world.qemu_io):
        result = program.run(["-r", "disk.qcow2", *reads], world.a)
        world.expect(result.code == 0, result.text())
    world.make("check", "disk.qcow2", folder=world.a)


def a_reader_that_goes_away(world):
    """A pipe whose reader is gone: no crash, no hang."""
    prepare(world)
    process = world.subject_io.start(["a.qcow2", "-c", "read -v 0 1M", "-c", "write -P 5 0 64k"], world.a)
    process.stdout.close()
    process.stderr.read()
    world.expect(process.wait(60) in (0, 1), f"exit code {process.returncode}")
    world.run_subject("check", "a.qcow2", folder=world.a)


def cases():
    for path in sorted((HERE / "io_lines").glob("*.txt")):
        for line in path.read_text().splitlines():
            if line.strip() and not line.startswith("#"):
                yield line_case(path.stem, line)
    for name, text in PIPES.items():
        yield pipe_case(name, text, ["a.qcow2"])
    for name, text in PIPES_WITHOUT_IMAGE.items():
        yield pipe_case(f"without image, {name}", text, [])
    for kind in KINDS:
        for name in REQUESTS:
            if name == "zeroes without fallback" and kind in ZEROES_AT_ONCE:
                continue
            yield request_case(kind, name)
        if kind not in WITHOUT_COMPRESSION:
            yield compressed_case(kind)
    yield Case("internal snapshots", internal_snapshots)
    yield Case("large requests", large_requests)
    yield Case("growth over a compressed end", growth_over_a_compressed_end, byre_only=True)
    yield Case("a reader that goes away", a_reader_that_goes_away, byre_only=True)
