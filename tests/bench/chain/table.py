"""The tables of `docs/chain.md`, from the records and the checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.chain.case import STAGES
from bench.chain.records import Record

BEGIN, END = "<!-- chain -->", "<!-- /chain -->"
"""Markers in the document between which the command writes."""

CHAINS = {
    "workflow": "this workflow",
    "naive": "naive",
    "strongest": "strongest (bincount)",
    "exactextract": "strongest (exactextract)",
}
"""Names of the chains in the tables. The last one is the strongest with another stage `features`."""


def mean_of(records: Sequence[Record], size: int, chain: str, stage: str) -> dict[str, float] | None:
    """Return the means of wall and CPU seconds and of the job's seconds, the largest memory and the number of repetitions; or None."""
    own = [r for r in records if (r["size"], r["chain"], r["stage"]) == (size, chain, stage) and r["status"] == 0]
    if not own:
        return None
    result: dict[str, float] = {"mb": max(r["mb"] for r in own), "repetitions": len(own)}
    for key in ("wall", "cpu", "job"):
        values = [r[key] for r in own if r.get(key) is not None]
        if values:
            result[key] = sum(values) / len(values)
    return result


def stages_of(records: Sequence[Record], size: int, chain: str) -> dict[str, dict[str, float]]:
    """Return the figures of the stages of a chain that were measured."""
    of, variant = ("strongest", "features_exactextract") if chain == "exactextract" else (chain, "features")
    found = {stage: mean_of(records, size, of, variant if stage == "features" else stage) for stage in STAGES}
    return {stage: figures for stage, figures in found.items() if figures is not None}


def total_of(records: Sequence[Record], size: int, chain: str) -> dict[str, float] | None:
    """Return wall and CPU seconds and memory of a whole chain; None where a stage was not measured.

    That of the workflow is the whole command, those of the others are the sums of their stages. `estimated` is in it where a stage was
    measured in part.
    """
    if chain == "workflow":
        return mean_of(records, size, chain, "all")
    stages = stages_of(records, size, chain)
    result: dict[str, float] = {}
    if chain == "naive" and "features" not in stages and (part := estimated(records, size, "features")):
        stages["features"] = part
        result["estimated"] = 1
    if set(stages) != set(STAGES):
        return None
    for key in ("wall", "cpu"):
        result[key] = sum(figures[key] for figures in stages.values())
    return result | {"mb": max(figures["mb"] for figures in stages.values())}


def estimated(records: Sequence[Record], size: int, stage: str) -> dict[str, float] | None:
    """Return what a stage of the naive chain that was measured in part takes, in proportion to the finished chunks; None without any."""
    own = [r for r in records if (r["size"], r["chain"], r["stage"]) == (size, "naive", stage) and r.get("done")]
    if not own:
        return None
    record = own[-1]
    return {"mb": record["mb"]} | {key: record[key] * record["total"] / record["done"] for key in ("wall", "cpu")}


def each_time(records: Sequence[Record], size: int, chain: str) -> list[dict[str, float]]:
    """Return the figures of a whole chain in each repetition that has all of its stages, see `total_of`."""
    repetitions = sorted({record["repetition"] for record in records if (record["size"], record["chain"]) == (size, chain)})
    totals = [total_of([record for record in records if record["repetition"] == each], size, chain) for each in repetitions]
    return [total for total in totals if total]


def number(value: float | None, digits: int = 1) -> str:
    """Write a number, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def cell(total: dict[str, float] | None, key: str, digits: int) -> str:
    """Write a figure of a whole chain."""
    if total is None:
        return "–"
    about = "about " if "estimated" in total and key != "mb" else ""
    return about + number(total.get(key), digits)


def row(cells: Sequence[str]) -> str:
    """Write a line of a table."""
    return f"| {' | '.join(cells)} |"


def whole(records: Sequence[Record]) -> list[str]:
    """Write the table of whole chains, as in the first measurement: seconds and memory, per further 100 tiles, fixed."""
    sizes = sorted({record["size"] for record in records})
    totals = {(size, chain): total_of(records, size, chain) for size in sizes for chain in CHAINS}
    lines = [row(["", *CHAINS.values()]), row(["---"] * (len(CHAINS) + 1))]
    for key, unit, digits in (("wall", "s", 1), ("cpu", "CPU s", 1), ("mb", "MB", 0)):
        for size in sizes:
            cells = [cell(totals[size, chain], key, digits) for chain in CHAINS]
            lines.append(row([f"{size} tiles, {unit}", *cells]))
            if key == "wall" and any(len(each_time(records, size, chain)) > 1 for chain in CHAINS):
                cells = [", ".join(cell(total, key, digits) for total in each_time(records, size, chain)) or "–" for chain in CHAINS]
                lines.append(row([f"{size} tiles, s, each time", *cells]))
    if len(sizes) > 1:
        growth: dict[str, float | None] = {}
        for chain in CHAINS:
            small, large = totals[sizes[0], chain], totals[sizes[-1], chain]
            growth[chain] = 100 * (large["wall"] - small["wall"]) / (sizes[-1] - sizes[0]) if small and large else None
        lines.append(row(["per further 100 tiles, s", *(number(growth[chain]) for chain in CHAINS)]))
        fixed = []
        for chain in CHAINS:
            small, slope = totals[sizes[0], chain], growth[chain]
            fixed.append(number(small["wall"] - slope * sizes[0] / 100 if small and slope is not None else None))
        lines.append(row(["fixed, s", *fixed]))
    for size in sizes:
        ours = totals[size, "workflow"]
        if ours:
            ratios = [number(ours["wall"] / other["wall"] if (other := totals[size, chain]) else None, 2) for chain in CHAINS]
            lines.append(row([f"{size} tiles, this workflow's time / the chain's", *ratios]))
            ratios = [number(ours["mb"] / other["mb"] if (other := totals[size, chain]) else None, 2) for chain in CHAINS]
            lines.append(row([f"{size} tiles, this workflow's memory / the chain's", *ratios]))
    return lines


def by_stage(records: Sequence[Record], size: int) -> list[str]:
    """Write the table of the stages of a size, and which of them lose to the strongest chain."""
    tables = {chain: stages_of(records, size, chain) for chain in CHAINS}
    lines = [
        row(["stage", "this workflow, s", "in its jobs, s", "MB", "naive, s", "MB", "strongest, s", "MB", "this workflow / strongest"]),
        row(["---"] * 9),
    ]
    lost = []
    for stage in STAGES:
        ours, naive, best = (tables[chain].get(stage, {}) for chain in ("workflow", "naive", "strongest"))
        seconds = ours.get("wall", ours.get("job"))
        ratio = seconds / best["wall"] if seconds and best else None
        if ratio and ratio >= 1.05:
            lost.append(f"`{stage}` {ratio:.1f} times")
        cells = [f"`{stage}`", number(seconds), number(ours.get("job"))]
        for figures in (ours, naive, best):
            cells += [number(figures.get("mb"), 0)] if figures is ours else [number(figures.get("wall")), number(figures.get("mb"), 0)]
        lines.append(row([*cells, number(ratio, 2)]))
    exact = tables["exactextract"].get("features")
    if exact:
        cells = ["`features` (exactextract)", "", "", "", "", "", number(exact["wall"]), number(exact["mb"], 0), ""]
        lines.append(row(cells))
    arrays = mean_of(records, size, "naive", "features_arrays")
    if arrays:
        lines.append(row(["`features` (rasterstats on arrays)", "", "", "", number(arrays["wall"]), number(arrays["mb"], 0), "", "", ""]))
    other = mean_of(records, size, "workflow", "other")
    if other:
        lines.append(row(["grid, coverage", number(other.get("wall", other.get("job"))), number(other.get("job")), *[""] * 6]))
    lines += ["", f"Of {size} tiles these stages take longer than in the strongest chain: {', '.join(lost) or 'none'}."]
    return lines


def unfinished(records: Sequence[Record]) -> list[str]:
    """Say what was not finished, and what all of it would take in proportion."""
    lines = []
    for record in records:
        if record["status"] == 0:
            continue
        name = f"{record['chain']}, {record['size']} tiles, `{record['stage']}`"
        if not record.get("done"):
            why = "too little time for a chunk of rasterstats" if record.get("total") else f"exit status {record['status']}"
            lines.append(f"- not finished: {name}: {why}")
            continue
        wall, cpu, share = record["wall"], record["cpu"], record["total"] / record["done"]
        lines.append(
            f"- {name}: {record['done']} of {record['total']} chunks of rasterstats took {wall:.0f} s ({cpu:.0f} CPU s), "
            f"so all take about {wall * share:.0f} s ({cpu * share:.0f} CPU s)"
        )
    return lines


def outcomes(checks: Mapping[int, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Write the table of the checks."""
    words = {True: "holds", False: "DOES NOT HOLD", None: "by design"}
    lines = [row(["tiles", "chain", "what", "against this workflow", "outcome"]), row(["---"] * 5)]
    for size, found in sorted(checks.items()):
        lines += [row([str(size), check["chain"], check["what"], check["found"], words[check["holds"]]]) for check in found]
    return lines


def document(records: Sequence[Record], checks: Mapping[int, Sequence[Mapping[str, Any]]], machine: str) -> str:
    """Write what stands between the markers."""
    sizes = sorted({record["size"] for record in records})
    lines = [machine, "", "**Whole chains**", "", *whole(records), ""]
    for size in sizes:
        lines += [f"**Stages, {size} tiles**", "", *by_stage(records, size), ""]
    lines += ["**Do they compute the same?**", "", *outcomes(checks)]
    if rest := unfinished(records):
        lines += ["", *rest]
    return "\n".join(lines)


def insert(path: Path, text: str) -> None:
    """Replace what stands between the markers of a document."""
    old = path.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not pattern.search(old):
        raise SystemExit(f"expected  {BEGIN} and {END} in {path}\nfound     none\ndo        put them where the tables belong")
    path.write_text(pattern.sub(lambda _: f"{BEGIN}\n{text}\n{END}", old), encoding="utf-8")
