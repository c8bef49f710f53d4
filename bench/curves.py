# SPDX-License-Identifier: Apache-2.0
"""Cost curves as pictures: one small diagram per job, both axes logarithmic, as SVG."""
import math

WIDTH, HEIGHT = 280, 200
LEFT, RIGHT, TOP, BOTTOM = 58, 28, 28, 32
COLUMNS = 3
COLORS = {"byre": "#0b6e99", "QEMU": "#c4561d"}
GIB = 1 << 30


def time_text(seconds):
    for unit, factor in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1 or unit == "us":
            value = seconds * factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    raise AssertionError


# The grid lines of a picture are at powers of this number.
UNITS = {"time": 1, "memory": 1 << 20}


def bytes_text(size):
    return f"{size / (1 << 20):.1f} MiB"


def size_text(size):
    return f"{size // GIB} GiB" if size < 1024 * GIB else f"{size // (1024 * GIB)} TiB"


def _scale(values, unit, low, high):
    """A function from values to positions between low and high, and the powers of ten within."""
    first, last = math.floor(math.log10(min(values) / unit)), math.ceil(math.log10(max(values) / unit))
    last = max(last, first + 1)
    ticks = [unit * 10.0 ** power for power in range(first, last + 1)]
    return lambda value: low + (math.log10(value / unit) - first) / (last - first) * (high - low), ticks


def _diagram(kind, job, whos, text, left, top):
    sizes = sorted(next(iter(whos.values())))
    values = [figures[size][kind] for figures in whos.values() for size in sizes]
    y, ticks = _scale(values, UNITS[kind], top + HEIGHT - BOTTOM, top + TOP)
    x_low, x_high = left + LEFT, left + WIDTH - RIGHT

    def x(size):
        return x_low + math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0]) * (x_high - x_low)

    parts = [f'<text x="{left + LEFT}" y="{top + 16}" class="title">{job}</text>']
    for tick in ticks:
        label = text(tick).replace(".0 ", " ")
        parts.append(f'<line x1="{x_low}" x2="{x_high}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" class="grid"/>'
                     f'<text x="{x_low - 5}" y="{y(tick) + 4:.1f}" class="left">{label}</text>')
    for size in sizes:
        parts.append(f'<text x="{x(size):.1f}" y="{top + HEIGHT - BOTTOM + 16}" class="below">{size_text(size)}</text>')
    for who, figures in whos.items():
        points = " ".join(f"{x(size):.1f},{y(figures[size][kind]):.1f}" for size in sizes)
        parts.append(f'<polyline points="{points}" stroke="{COLORS[who]}"/>')
        parts += [f'<circle cx="{x(size):.1f}" cy="{y(figures[size][kind]):.1f}" r="2.5" fill="{COLORS[who]}"/>'
                  for size in sizes]
    return parts


def picture(kind, found, text):
    """An SVG of {job: {who: {size: {kind: value}}}}."""
    rows = -(-len(found) // COLUMNS)
    width, height = COLUMNS * WIDTH, rows * HEIGHT + 24
    parts = ["<!-- SPDX-License-Identifier: Apache-2.0 -->",
             f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
             f'viewBox="0 0 {width} {height}">',
             "<style>text{font:11px sans-serif;fill:#333}.title{font-weight:bold}.left{text-anchor:end}"
             ".below{text-anchor:middle}.grid{stroke:#ddd}polyline{fill:none;stroke-width:1.8}</style>",
             '<rect width="100%" height="100%" fill="#fff"/>']
    for number, (who, color) in enumerate(COLORS.items()):
        parts.append(f'<circle cx="{LEFT + 60 * number}" cy="12" r="4" fill="{color}"/>'
                     f'<text x="{LEFT + 60 * number + 8}" y="16">{who}</text>')
    for number, (job, whos) in enumerate(found.items()):
        parts += _diagram(kind, job, whos, text, number % COLUMNS * WIDTH, 24 + number // COLUMNS * HEIGHT)
    return "\n".join([*parts, "</svg>"]) + "\n"
