"""usage: table.py THRESHOLDS DIRECTORY [OUT]

The table of a run: DIRECTORY has samples.tsv (round, benchmark, figure, contender,
value), absent.tsv, failed.tsv and facts. Ratios and differences are made within a
round; what is shown is their median. Exits with 1 unless every bar is met.
"""

import collections
import math
import operator
import os
import statistics
import sys

COMPARE = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}


def rows_of(path):
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [line.rstrip("\n").split("\t") for line in file if not line.startswith("#")]


def number(value):
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def main():
    thresholds, directory = sys.argv[1:3]
    out = sys.argv[3] if len(sys.argv) > 3 else ""
    facts = dict(row[0].split(" ", 1) for row in rows_of(f"{directory}/facts"))
    # (benchmark, figure, contender): round: values
    samples = collections.defaultdict(lambda: collections.defaultdict(list))
    for round_, benchmark, figure, contender, value in rows_of(f"{directory}/samples.tsv"):
        samples[benchmark, figure, contender][int(round_)].append(float(value))
    absent = {(b, c): why for b, c, why in rows_of(f"{directory}/absent.tsv")}
    failed = collections.Counter((b, c) for b, c, _ in rows_of(f"{directory}/failed.tsv"))
    medians = {
        key: statistics.median([v for values in rounds.values() for v in values])
        for key, rounds in samples.items()
    }

    header = ["benchmark", "figure", "vine-mpi", "value", "reference", "its value", "result", "bar", "verdict"]
    table, is_good, previous = [], True, ""
    for benchmark, figure, contender, reference, compare, bar, what in rows_of(thresholds):
        if benchmark not in facts["names"].split():
            continue
        what = what or previous
        previous = what
        mine, theirs = (benchmark, figure, contender), (benchmark, figure, reference)
        row = [benchmark, f"{what}: {figure}", contender]
        row += [number(medians[mine]) if mine in medians else "-"]
        row += [reference, number(medians[theirs]) if theirs in medians else "-"]
        reason = absent.get((benchmark, contender)) or absent.get((benchmark, reference))
        result = None
        if mine in samples and (reference == "-" or theirs in samples):
            result = compute(compare, samples[mine], samples.get(theirs))
        if result is None:
            table.append(row + ["-", bar, f"left out: {reason}" if reason else "failed"])
            is_good = is_good and bool(reason)
            continue
        verdict = ""
        if bar != "-":
            sign, limit = bar.split()
            is_met = COMPARE[sign](result, float(limit))
            is_good = is_good and is_met
            verdict = "met" if is_met else "missed"
        runs = failed[benchmark, contender] + failed[benchmark, reference]
        if runs:
            verdict += f" ({runs} runs failed)"
            is_good = False
        unit = {"ratio": " x", "difference": " more", "p99": " (p99)", "most": "", "value": ""}[compare]
        table.append(row + [number(result) + unit, bar, verdict])

    about = [
        f"{facts['cores']} cores, Linux {facts['linux']}, {facts['mpi']}, vine-mpi {facts['version']}",
        f"medians of {facts['rounds']} interleaved rounds; load average before a benchmark: {facts['load']}; "
        f"{facts['group']}",
    ]
    about += [row[0] for row in rows_of(f"{directory}/notes")]
    widths = [max(len(row[i]) for row in [header] + table) for i in range(len(header))]
    print("\n".join(about))
    for row in [header] + table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    if out:
        with open(out, "w") as file:
            if out.endswith(".tsv"):
                file.writelines(f"# {line}\n" for line in about)
                file.writelines("\t".join(row) + "\n" for row in [header] + table)
            else:
                file.write("".join(f"- {line}\n" for line in about) + "\n")
                for row in [header, ["---"] * len(header)] + table:
                    file.write("| " + " | ".join(row) + " |\n")
    return 0 if is_good else 1


def compute(compare, mine, theirs):
    """The figure of a row; None where no round has both sides."""
    everything = [value for values in mine.values() for value in values]
    if compare == "value":
        return statistics.median(everything)
    if compare == "most":
        return max(everything)
    if compare == "p99":
        return sorted(everything)[math.ceil(0.99 * len(everything)) - 1]
    pairs = [
        (statistics.median(mine[round_]), statistics.median(theirs[round_]))
        for round_ in mine
        if round_ in theirs
    ]
    if not pairs:
        return None
    if compare == "ratio":
        return statistics.median([a / b for a, b in pairs])
    return statistics.median([a - b for a, b in pairs])


sys.exit(main())
