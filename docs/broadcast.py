"""usage: broadcast.py TRANSFERS FILE-ID > broadcast.svg

A picture of how one file reached the nodes, from a table that `vine-mpi run --transfers` wrote: a bar
per node from the order to the end of its transfer, and a line from the node that it read.
"""

import sys
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, ROW, TOP = 720, 90, 120, 26, 44


def main():
    path, name = sys.argv[1:3]
    with open(path) as table:
        rows = [line.rstrip("\n").split("\t") for line in table if not line.startswith("#")]
    rows = [row for row in rows if row[0] == name and row[6] == "0"]
    if not rows:
        sys.exit(f"no transfer of {name} in {path}")
    # In the order in which bytes went: from the shared file system on.
    source = {row[2]: row[1].lstrip("+") for row in rows}
    depth = lambda node: 0 if node not in source else 1 + depth(source[node])
    rows.sort(key=lambda row: (depth(row[2]), row[2]))
    place = {row[2]: index + 1 for index, row in enumerate(rows)}
    first = min(float(row[3]) for row in rows)
    last = max(float(row[4]) for row in rows)
    scale = (WIDTH - LEFT - RIGHT) / (last - first)
    x = lambda time: LEFT + (float(time) - first) * scale
    y = lambda node: TOP + ROW * place.get(node, 0)
    height = TOP + ROW * (len(rows) + 2)
    mib = int(rows[0][5]) / (1 << 20)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="18">{escape(name)}, {mib:,.0f} MiB, to {len(rows)} nodes at once</text>',
        f'<text x="{LEFT - 8}" y="{y("") + 13}" text-anchor="end">shared</text>',
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y("") + 9}" y2="{y("") + 9}" stroke="#888" stroke-width="2"/>',
    ]
    for row in rows:
        node, begin, end = row[2], x(row[3]), x(row[4])
        top = y(node)
        shade = "#c9792c" if row[1] == "shared" else "#3b78a8"
        middle = begin + 10 + 14 * place[node]
        out += [
            f'<text x="{LEFT - 8}" y="{top + 13}" text-anchor="end">{escape(node)}</text>',
            f'<rect x="{begin:.1f}" y="{top + 2}" width="{end - begin:.1f}" height="{ROW - 10}" fill="{shade}"/>',
            f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{y(source[node]) + 10}" y2="{top + 2}" stroke="#222"/>',
            f'<path d="M {middle - 3:.1f} {top - 3} l 3 6 l 3 -6 z" fill="#222"/>',
            f'<text x="{end + 6:.1f}" y="{top + 13}">{float(row[4]) - first:.2f} s</text>',
        ]
    out += [
        f'<text x="{LEFT}" y="{height - 10}" fill="#444">bars: from the order to the whole file in the cache; '
        "arrows: who read from whom, while it came</text>",
        "</svg>",
    ]
    print("\n".join(out))


main()
