# SPDX-License-Identifier: Apache-2.0
"""What a tool needs, and the lines of shell that are run with it, each a step that is compared."""
import contextlib
import dataclasses
from typing import Callable


@contextlib.contextmanager
def nothing(_side):
    """Nothing to start or to stop."""
    yield


@dataclasses.dataclass
class Tool:
    name: str
    packages: list         # of Debian; the tool is left out if they cannot be had
    lines: list            # of shell, run in the side's folder
    images: list           # glob patterns of the images to look at after each step
    start: Callable = nothing  # a context manager, called with the side before the first line
    as_nobody: bool = False    # root is not an ordinary user of this tool
    inside: bool = False       # the tool mounts file systems: compare the files in them
