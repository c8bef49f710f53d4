# SPDX-License-Identifier: Apache-2.0
"""The statements of docs/differences-from-qemu.md: one line each, run by both programs. If QEMU no longer does what the
page says about it, the page has to change."""
import os
import subprocess

from case import Case

# Name, line, exit code of byre, exit code of QEMU, text in byre's output, text in QEMU's output. `$IMG` and `$IO` are
# the programs, `$QEMU` is always QEMU's. The directory has data.qcow2 (1 MiB of 7), zero.qcow2, base.qcow2 (4 MiB of
# 7), disk.raw (1 MiB of 7).
LINES = [
    ("convert -c into data", "$IMG convert -n -c -O qcow2 base.qcow2 full.qcow2", 0, 1, "", "Input/output error"),
    ("write -c into data", "$IO -c 'write -c 0 64k' data.qcow2", 0, 1, "wrote", "Input/output error"),
    ("compression and data files", "$IMG convert -c -O qcow2 -o data_file=d zero.qcow2 x", 1, 1,
     "Compression not supported for this file format", ""),
    ("zeroes without slow ones in version 2",
     "$IMG create -q -f qcow2 -o compat=0.10 x 1M && $IO -c 'write -zn 0 64k' x", 0, 1, "wrote",
     "Operation not supported"),
    ("options before files", "echo kept > x; $IMG create -q -f qcow2 -o cluster_size=3 x 1M; cat x", 0, 1, "kept", "Cluster"),
    ("a disk onto itself", "$IMG dd -f raw -O raw if=disk.raw of=disk.raw", 1, 0, '"resize" lock', ""),
    ("dd -U onto itself", "$IMG dd -U -f raw -O raw if=disk.raw of=disk.raw", 1, 0, "same file", ""),
    ("convert -U onto itself", "$IMG convert -U -f raw -O raw disk.raw disk.raw", 1, 0, "same file", ""),
    ("a backing file by another name",
     "ln -s zero.qcow2 link && $IMG create -q -f qcow2 -b link -F qcow2 zero.qcow2", 1, 0, "same filename", ""),
    ("version 2 over a longer backing file", "$IMG create -q -f qcow2 -o compat=0.10 -b base.qcow2 -F qcow2 x 1M && "
     "$IO -c 'truncate 2M' -c 'read -P 0 1M 1M' x", 0, 1, "", "Failed to zero out new clusters"),
    ("a short cluster that is compressed", "$IMG create -q -f qcow2 -o extended_l2=on -b base.qcow2 -F qcow2 x 1030k && "
     "$IO -c 'write -c 1M 6k' -c 'truncate 2M' -c 'read -P 0 1030k 700k' x", 0, 1, "", "Failed to zero out new clusters"),
    ("what was cut off", "$IO -c 'truncate 499712' -c 'truncate 1M' -c 'read -P 0 499712 500000' data.qcow2", 0, 1, "read",
     "Pattern verification failed"),
    ("what a raw data file had",
     "$IMG create -q -f qcow2 -o data_file=d,data_file_raw=on x 1M && cat disk.raw disk.raw >d && "
     "$IO -c 'truncate 2M' -c 'read -P 0 1M 1M' x", 0, 1, "read", "Pattern verification failed"),
    ("a snapshot of a discarded cluster", "$QEMU snapshot -c s data.qcow2 && $IO --image-opts -d unmap -c 'discard 0 64k' "
     "driver=qcow2,discard-no-unref=on,file.filename=data.qcow2 && $IMG convert -l s -O raw data.qcow2 x && cmp x disk.raw",
     0, 1, "", "differ"),
    ("far VM state", "$IO -c 'write -b 4E 4k' zero.qcow2", 1, 0, "File too large", "wrote"),
    ("null-co reads", "$IO -f raw -c 'read -P 0 0 64k' null-co://", 0, 1, "read", "Pattern verification failed"),
    ("null-co read-zeroes", "$IMG info --image-opts driver=null-co,read-zeroes=maybe", 1, 134, "expects 'on' or 'off'", ""),
    ("a file without whole blocks", "head -c 4700 disk.raw >x && $IO --image-opts -c 'write 0 512' "
     "driver=raw,file.driver=blkdebug,file.align=4096,file.image.driver=file,file.image.filename=x", 0, 1, "wrote",
     "not a multiple of request alignment"),
    ("what is not written at close", "printf '[inject-error]\\nevent = \"l2_update\"\\nonce = \"off\"\\n' >r && "
     "$IO -c 'discard 0 64k' blkdebug:r:data.qcow2", 1, 0, "Failed to flush the L2 table", "Failed to flush the L2 table"),
    ("the last flush", "printf '[inject-error]\\nevent = \"flush_to_disk\"\\nonce = \"off\"\\n' >r && "
     "$IO -c 'write 0 64k' blkdebug:r:data.qcow2", 1, 0, "error injected by a blkdebug rule", "wrote"),
    ("requests at breakpoints", "timeout 2 $IO -c 'wait_break A' blkdebug::zero.qcow2", 1, 124, "No request in flight can reach", ""),
    ("long lines", "printf 'read %1100s 512\\n' 0 | $IO -f raw disk.raw", 0, 1, "read 512/512", "not found"),
    ("convert -B over a longer one", "$IMG create -q -f qcow2 -b data.qcow2 -F qcow2 o 2M && "
     "$IMG convert -O qcow2 -B base.qcow2 -F qcow2 o x && $IO -c 'read -P 0 1M 1M' x", 0, 1, "read",
     "Pattern verification failed"),
    ("bitmaps and sizes", "$QEMU bitmap --add zero.qcow2 b && $IO -c 'truncate 2M' zero.qcow2", 1, 0, "persistent bitmaps", ""),
]


def environment(world, folder, image, io):
    """The programs under their names, and what only QEMU can do."""
    for program, name in ((image, "qemu-img"), (io, "qemu-io")):
        (folder / name).symlink_to(program.path.resolve())
    known = {"IMG": "./qemu-img", "IO": "./qemu-io", "QEMU": world.qemu.path}
    return {**os.environ, "LC_ALL": "C", **{key: str(value) for key, value in known.items()}}


def make(world):
    world.make("create", "-f", "qcow2", "zero.qcow2", "1M")
    for name, size in (("data.qcow2", "1M"), ("base.qcow2", "4M"), ("full.qcow2", "4M")):
        world.make("create", "-f", "qcow2", name, size)
        world.write(name, f"write -P 7 0 {size}")
    (world.folder / "disk.raw").write_bytes(b"\7" * (1 << 20))


def line(name, script, code, other_code, says, other_says):
    def run(world):
        make(world)
        world.copy_to_sides()
        for folder, programs, wanted, text in (
                (world.a, (world.subject, world.subject_io), code, says),
                (world.b, (world.qemu, world.qemu_io), other_code, other_says)):
            command = ["bash", "-c", f"ulimit -c 0; {script}\nexit $?"]
            done = subprocess.run(command, cwd=folder, env=environment(world, folder, *programs), timeout=60,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            output = done.stdout.decode(errors="replace")
            world.expect(done.returncode == wanted and text in output,
                         f"{script}\nin {folder.name}: exit code {done.returncode}, expected {wanted} and '{text}':\n"
                         f"{output}")
    return Case(name, run, byre_only=True)


def cases():
    for row in LINES:
        yield line(*row)
