"""Check co-registration by phase correlation, summed over the patches of a group; not assessable where no peak stands out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from smallmines.core.finding import Family, Finding
from smallmines.doctor.folder import Folder
from smallmines.doctor.phase_correlation import Shift, Spectra, shift_of
from smallmines.settings.doctor import Doctor

GEOMETRY = Family("geometry")

TITLES = {
    "radar": "Sentinel-1 on Sentinel-2",
    "slope": "elevation under Sentinel-2",
    "mask": "masks on Sentinel-2",
    "years": "years on each other",
}
"""Name of the check by kind of shift."""

LEAST_PATCHES = 3
"""Minimum number of patches needed to report a shift: in a single patch a repetitive pattern can put a peak anywhere."""


def groups(folder: Folder) -> dict[tuple[str, int], str]:
    """Return the group of each tile and year: block and first scene where the index has them, else the year."""
    pairs = [(row["tile"], row["year"]) for row in folder.pairs.to_dict("records")]
    by_pair: dict[tuple[str, int], str] = {}
    if folder.index is not None and {"block", "scenes"} <= set(folder.index):
        for row in folder.index.to_dict("records"):
            scene = f", {row['scenes'][0]}" if row["scenes"] is not None and len(row["scenes"]) else ""
            by_pair[row["tile_id"], row["year"]] = f"{row['year']}, block {row['block']}{scene}"
    return {pair: by_pair.get(pair, f"{pair[1]}") for pair in pairs}


def shifts(spectra: Spectra, limits: Doctor) -> list[dict[str, Any]]:
    """Return every group's shifts: kind, group, patches, down, right (px), significance, assessable."""
    strongest: dict[tuple[str, str], tuple[Shift, int]] = {}
    for (kind, group), (cross, count) in spectra.sums().items():
        slope = kind.startswith("slope")
        shift, name = shift_of(cross, count, signed=slope), "slope" if slope else kind
        if (name, group) not in strongest or shift.significance > strongest[name, group][0].significance:
            strongest[name, group] = shift, count
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
        for (kind, group), (shift, count) in sorted(strongest.items())
    ]


def check(measured_shifts: list[dict[str, Any]], names: Mapping[str, tuple[str, ...]], limits: Doctor) -> Iterator[Finding]:
    """Yield shifts beyond the limits.

    Args:
        measured_shifts: as `shifts` returns them.
        names: tiles and years by group.
    """
    for shift in measured_shifts:
        kind = shift["kind"].split()[0]
        limit = {"slope": limits.dem_shift_px, "mask": limits.mask_shift_px, "radar": limits.radar_shift_px}.get(kind, limits.shift_px)
        if shift["assessable"] and max(abs(shift["down"]), abs(shift["right"])) > limit:
            years = f" ({shift['kind'].removeprefix('years ')})" if kind == "years" else ""
            found = f"{shift['right']:+.2f} px east, {shift['down']:+.2f} px south in {shift['group']} ({shift['patches']} patches)"
            yield GEOMETRY.error(
                f"{TITLES[kind]}{years}",
                f"within {limit:g} px",
                f"{found}, significance {shift['significance']:g}",
                "look at the grid and the georeference of the source",
                names.get(shift["group"], ()),
            )
