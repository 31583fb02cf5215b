"""Picture of a run over time: its jobs on lanes, one for each core, as measured and on a larger machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smallmines.report import canvas
from smallmines.report.schedule import Job, lanes, wall

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OTHERS = "#c9ced4"
"""Colour of rules that take little time."""


def draw(panels: Mapping[str, tuple[Sequence[Job], int]], critical: Sequence[str], target: str | Path) -> None:
    """Draw runs below each other, with one scale of time.

    Args:
        panels: title, jobs with their times, and number of cores.
        critical: names of the jobs of the critical path, drawn with a frame.
        target: file to write (PNG).
    """
    import matplotlib as mpl
    from matplotlib.patches import Patch

    seconds: defaultdict[str, float] = defaultdict(float)
    for job in next(iter(panels.values()))[0]:
        seconds[job.planned.rule] += job.seconds * job.threads
    colours = dict(zip(sorted(seconds, key=lambda rule: -seconds[rule]), canvas.MORE, strict=False))
    placed = [lanes(jobs, cores) for jobs, cores in panels.values()]
    rows = [max(lane for _, lane in panel) + 1 for panel in placed]
    with mpl.rc_context(canvas.STYLE):
        figure = canvas.figure(12, 1.6 + sum(0.5 + 0.28 * count for count in rows))
        every = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=[0.6 + count for count in rows])[:, 0]
        for axes, panel, (title, (jobs, _)) in zip(every, placed, panels.items(), strict=True):
            axes.set_title(f"{title}: {wall(jobs) / 60:.1f} min")
            _draw(axes, panel, colours, frozenset(critical))
        every[-1].set_xlabel("minutes from the start of the first job")
        handles = [Patch(color=colour, label=f"{rule} ({seconds[rule]:.0f} s)") for rule, colour in colours.items()]
        handles += [Patch(color=OTHERS, label="other rules"), Patch(facecolor="none", edgecolor=canvas.INK, label="critical path")]
        figure.legend(handles=handles, loc="outside lower center", ncols=5, title="core seconds of the run by rule")
        canvas.save(figure, target)


def _draw(axes: Axes, placed: Sequence[tuple[Job, int]], colours: Mapping[str, str], critical: frozenset[str]) -> None:
    """Draw the jobs of one run."""
    for job, lane in placed:
        frame = job.name in critical
        axes.barh(
            lane,
            job.seconds / 60,
            left=job.start / 60,
            height=0.86,
            color=colours.get(job.planned.rule, OTHERS),
            edgecolor=canvas.INK if frame else "white",
            linewidth=1.6 if frame else 0.3,
            zorder=3 if frame else 2,
        )
    axes.set_yticks(range(max(lane for _, lane in placed) + 1), [])
    axes.set_ylabel("cores")
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.margins(x=0.01, y=0.02)
