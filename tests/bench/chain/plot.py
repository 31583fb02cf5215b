"""The plot of `docs/chain.md`: time and peak memory by stage and chain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.chain.case import STAGES
from bench.chain.records import Record
from bench.chain.table import CHAINS, stages_of

COLOURS = {"workflow": "#1b6ca8", "naive": "#b0b0b0", "strongest": "#e08e2b", "exactextract": "#f3cf9d"}


def draw(records: Sequence[Record], path: Path) -> None:
    """Draw a row of two panels per size: seconds and peak memory of each stage, on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sizes = sorted({record["size"] for record in records})
    figure, axes = plt.subplots(len(sizes), 2, figsize=(11, 3.4 * len(sizes)), squeeze=False)
    for row, size in zip(axes, sizes, strict=True):
        for axis, key, unit in zip(row, ("wall", "mb"), ("s", "MB"), strict=True):
            chains = [chain for chain in CHAINS if stages_of(records, size, chain).get("features" if chain == "exactextract" else "mask")]
            for place, chain in enumerate(chains):
                stages = stages_of(records, size, chain)
                if chain == "exactextract":  # the rest is the same as of `strongest`
                    stages = {stage: figures for stage, figures in stages.items() if stage == "features"}
                width = 0.8 / len(chains)
                drawn = {STAGES.index(stage): value for stage, figures in stages.items() if (value := figures.get(key, figures.get("job")))}
                axis.bar([x + (place + 0.5) * width - 0.4 for x in drawn], drawn.values(), width, color=COLOURS[chain], label=CHAINS[chain])
            axis.set_yscale("log")
            axis.set_xticks(range(len(STAGES)), [stage.replace("composite_", "") for stage in STAGES], rotation=30, ha="right")
            axis.set_title(f"{size} tiles: {'time' if key == 'wall' else 'peak memory'}, {unit}", fontsize=10)
            axis.grid(axis="y", alpha=0.3)
            axis.set_axisbelow(True)
            axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="upper center", ncols=len(CHAINS), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.25 / figure.get_figheight()))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)
