"""usage: curve.py SAMPLES SVG

The curve of the context benchmark: SAMPLES is the samples.tsv of a run with --keep. Writes the medians
as a Markdown table to standard output and as a figure to SVG.
"""

import collections
import math
import statistics
import sys

LEVELS = [
    ("l1", "L1: each call brings its environment", "#b2182b"),
    ("l2", "L2: environment on the node, a process per call", "#ef8a62"),
    ("fork", "L3: library, a forked child per call", "#67a9cf"),
    ("direct", "L3: library, one interpreter", "#2166ac"),
    ("loop", "a plain Python loop", "#666666"),
]
FIGURE = "CPU ms/call"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 62, 16, 34, 48


def read(path):
    samples = collections.defaultdict(list)
    with open(path) as file:
        for line in file:
            _, benchmark, figure, contender, value = line.rstrip("\n").split("\t")
            if benchmark == "context" and ", " in contender and contender.split(", ")[1].isdigit():
                level, sentences = contender.split(", ")
                samples[figure, level, int(sentences)].append(float(value))
    return samples


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def table(samples, sizes):
    for figure in (FIGURE, "wall ms/call"):
        print(f"| {figure}, k = | " + " | ".join(str(size) for size in sizes) + " |")
        print("|---|" + "---|" * len(sizes))
        for level, text, _ in LEVELS:
            cells = []
            for size in sizes:
                values = samples.get((figure, level, size))
                if values:
                    spread = f" ({number(min(values))} to {number(max(values))})" if len(values) > 1 else ""
                    cells.append(number(statistics.median(values)) + spread)
                else:
                    cells.append("-")
            print(f"| {text} | " + " | ".join(cells) + " |")
        ratios = []
        for size in sizes:
            one, other = samples.get((figure, "l1", size)), samples.get((figure, "direct", size))
            ratios.append(f"{statistics.median(one) / statistics.median(other):.1f} x" if one and other else "-")
        print("| L1 / L3 direct | " + " | ".join(ratios) + " |\n")


def svg(samples, sizes, path):
    medians = {
        (level, size): statistics.median(samples[FIGURE, level, size])
        for level, _, _ in LEVELS
        for size in sizes
        if samples.get((FIGURE, level, size))
    }
    low = math.floor(math.log10(min(medians.values())))
    high = math.ceil(math.log10(max(medians.values())))

    def x(size):
        span = math.log2(sizes[-1]) - math.log2(sizes[0])
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log2(size) - math.log2(sizes[0])) / (span or 1)

    def y(value):
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log10(value)) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + 104}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT + 104}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="13">Processor time per call, ms (median, log scale)</text>',
    ]
    for power in range(low, high + 1):
        place = y(10**power)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place:.1f}" y2="{place:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{place + 4:.1f}" text-anchor="end">{10**power:g}</text>')
    for size in sizes:
        parts.append(f'<text x="{x(size):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{size}</text>')
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - BOTTOM + 38}" text-anchor="middle">'
        "sentences per call</text>"
    )
    for row, (level, text, color) in enumerate(LEVELS):
        points = [(x(size), y(medians[level, size])) for size in sizes if (level, size) in medians]
        if not points:
            continue
        dash = ' stroke-dasharray="5 4"' if level == "loop" else ""
        path_text = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{path_text}" fill="none" stroke="{color}" stroke-width="2"{dash}/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{color}"/>' for a, b in points]
        place = HEIGHT + 8 + 18 * row
        parts.append(
            f'<line x1="{LEFT}" x2="{LEFT + 28}" y1="{place}" y2="{place}" stroke="{color}" stroke-width="2"{dash}/>'
        )
        parts.append(f'<text x="{LEFT + 36}" y="{place + 4}">{text}</text>')
    parts.append("</svg>\n")
    with open(path, "w") as file:
        file.write("\n".join(parts))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    samples = read(sys.argv[1])
    sizes = sorted({size for _, _, size in samples})
    if not sizes:
        sys.exit(f"{sys.argv[1]} has no samples of the context benchmark")
    table(samples, sizes)
    svg(samples, sizes, sys.argv[2])


main()
