# SPDX-License-Identifier: Apache-2.0
"""How one process of qemu-io opens the disk: random command-line options."""
import dataclasses

IMAGE = "disk.qcow2"


@dataclasses.dataclass
class ProcessOptions:
    arguments: list  # ends with the options that name the image
    discards: bool   # whether a discard reaches the image

    def of(self, program):
        """With io_uring, QEMU 10.0.2 sometimes waits forever, for compressed writes above all."""
        if program == "byre":
            return self.arguments
        return ["threads" if argument == "io_uring" else argument for argument in self.arguments]


def _plain(random, left_out):
    arguments = ["-f", "qcow2"]
    discards = random.random() < 0.8 or "ignored-discards" in left_out
    if not discards:
        arguments += ["-d", random.choice(("ignore", "off"))]
    elif random.random() < 0.5:
        arguments += ["-d", random.choice(("unmap", "on"))]
    cache = random.choice((None, None, "writeback", "none", "writethrough", "directsync", "unsafe"))
    if cache:
        arguments += ["-t", cache]
    if random.random() < 0.3:
        ways = ["threads", "io_uring"]
        if cache in ("none", "directsync"):
            ways.append("native")
        arguments += ["-i", random.choice(ways)]
    return ProcessOptions(arguments + [IMAGE], discards)


def _image_options(random, plan):
    chosen = {"driver": "qcow2", "file.driver": "host_device" if plan.on_device else "file", "file.filename": IMAGE}
    discards = random.random() < 0.8
    if not discards:
        chosen["discard"] = "ignore"
    elif random.random() < 0.5:
        chosen["discard"] = "unmap"
    maybe = {
        "detect-zeroes": random.choice(("on", "unmap" if "discard" in chosen and discards else "off")),
        "pass-discard-request": random.choice(("on", "off")),
        "pass-discard-other": random.choice(("on", "off")),
        "overlap-check": random.choice(("none", "constant", "cached", "all")),
        "l2-cache-size": plan.cluster_size * random.choice((2, 4, 32)),
        "refcount-cache-size": plan.cluster_size * random.choice((4, 8)),
        "cache-clean-interval": random.choice((0, 1, 600)),
        "discard-no-unref": random.choice(("on", "off")),
        "cache.no-flush": "on",
        "cache.direct": "on",
    }
    if plan.version == 2 or plan.snapshots:
        # QEMU discards the bytes even if a snapshot shares them.
        del maybe["discard-no-unref"]
    if plan.version == 3:
        maybe["lazy-refcounts"] = random.choice(("on", "off"))
    if plan.cluster_size > 512:
        maybe["l2-cache-entry-size"] = random.choice((512, plan.cluster_size // 2, plan.cluster_size))
    for name, value in maybe.items():
        if random.random() < 0.25:
            chosen[name] = value
    text = ",".join(f"{name}={value}" for name, value in chosen.items())
    return ProcessOptions(["--image-opts", text], discards)


def make_process_options(random, plan, left_out):
    if random.random() < 0.3 and "image-options" not in left_out:
        return _image_options(random, plan)
    return _plain(random, left_out)
