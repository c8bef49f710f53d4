# SPDX-License-Identifier: Apache-2.0
"""The state of files in the page cache before they are measured: it holds a file in the folios in which it was read or
written, and their size determines the cost of a start, a copy and a single request."""
import os
import shutil
import subprocess


def read_afresh(path, reference):
    """As the first reader after a boot would, with the program of bench/reference.cc. With the folios of a file that has
    just been written, a program starts, and a copy reads, faster or slower by a tenth and more."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)
    subprocess.run([reference, "read", path], check=True)


def write_afresh(path, piece):
    """In folios of this many bytes. A small write to a large folio may cost ten times as much as one to a small folio."""
    copy = path.with_suffix(".copy")
    with open(path, "rb", buffering=0) as old, open(copy, "wb", buffering=0) as new:
        shutil.copyfileobj(old, new, piece)
    copy.rename(path)
