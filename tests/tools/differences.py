# SPDX-License-Identifier: Apache-2.0
"""Steps whose results differ, with the reason; docs/differences-from-qemu.md lists what byre does on purpose."""

# What byre refuses by name, since it is not implemented yet: a part of the step, and what is missing.
_NOT_IMPLEMENTED = {"--bitmaps": "convert --bitmaps", "qemu-img bitmap ": "bitmap", "-f luks": "encryption"}


def reason(_tool, line, _different):
    """Why a step may differ; None: it may not."""
    return next((f"{what} is not implemented" for part, what in _NOT_IMPLEMENTED.items() if part in line), None)
