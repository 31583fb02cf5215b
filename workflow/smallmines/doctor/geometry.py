"""Geometry: what lies on what, by phase correlation summed over the patches of a group; not assessable where no peak stands out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from smallmines.doctor.folder import Finding, Folder
from smallmines.doctor.measure import Measured, Shift, shift_of
from smallmines.settings.doctor import Doctor

WHAT = {
    "radar": "Sentinel-1 on Sentinel-2",
    "slope": "elevation under Sentinel-2",
    "mask": "masks on Sentinel-2",
    "years": "years on each other",
}


LEAST_PATCHES = 3
"""Patches from which a shift is told: a pattern that repeats itself can put a peak anywhere in one."""


def groups(folder: Folder) -> dict[tuple[str, int], str]:
    """The group of each tile and year: block and first scene where the index knows them, else the year."""
    if folder.index is None or not {"block", "scenes"} <= set(folder.index):
        return {(row["tile"], row["year"]): f"{row['year']}" for row in folder.pairs.to_dict("records")}
    known = {
        (row["tile_id"], row["year"]): f"{row['year']}, block {row['block']}{_scene(row['scenes'])}"
        for row in folder.index.to_dict("records")
    }
    return {(row["tile"], row["year"]): known.get((row["tile"], row["year"]), f"{row['year']}") for row in folder.pairs.to_dict("records")}


def _scene(scenes: Any) -> str:
    return f", {scenes[0]}" if scenes is not None and len(scenes) else ""


def shifts(measured: Measured, limits: Doctor) -> list[dict[str, Any]]:
    """Every group's shifts: kind, group, patches, down, right (px), significance, assessable."""
    found: dict[tuple[str, str], tuple[Shift, int]] = {}
    for (kind, group), cross in measured.spectra.sums.items():
        count = measured.spectra.counts[kind, group]
        slope = kind.startswith("slope")
        shift, name = shift_of(cross, count, signed=slope), "slope" if slope else kind
        if (name, group) not in found or shift.significance > found[name, group][0].significance:
            found[name, group] = shift, count
    return [
        {
            "kind": kind,
            "group": group,
            "patches": count,
            "down": round(shift.down, 2),
            "right": round(shift.right, 2),
            "significance": round(shift.significance, 1),
            "assessable": count >= LEAST_PATCHES
            and shift.significance >= limits.shift_significance
            and shift.distinct >= limits.shift_distinct,
        }
        for (kind, group), (shift, count) in sorted(found.items())
    ]


def check(found: list[dict[str, Any]], names: Mapping[str, tuple[str, ...]], limits: Doctor) -> Iterator[Finding]:
    """Shifts beyond the limits.

    Args:
        found: as `shifts` gives them.
        names: tiles and years by group.
    """
    for one in found:
        kind = one["kind"].split()[0]
        limit = {"slope": limits.dem_shift_px, "mask": limits.mask_shift_px, "radar": limits.radar_shift_px}.get(kind, limits.shift_px)
        size = max(abs(one["down"]), abs(one["right"]))
        if one["assessable"] and size > limit:
            told = f"{one['right']:+.2f} px east, {one['down']:+.2f} px south in {one['group']} ({one['patches']} patches)"
            years = f" ({one['kind'].removeprefix('years ')})" if kind == "years" else ""
            yield Finding(
                "error",
                "geometry",
                f"{WHAT[kind]}{years}",
                f"within {limit:g} px",
                f"{told}, significance {one['significance']:g}",
                "look at the grid and the georeference of the source",
                names.get(one["group"], ()),
            )
