"""Facts of a merged dataset: computed anew from its files, and those of each region as its own run stated them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallmines.core.crs import reproject
from smallmines.dataset.facts import FactSources, gather, grid_facts
from smallmines.dataset.frames import cells_in_one_frame
from smallmines.dataset.merge_parts import Part
from smallmines.dataset.splits import described
from smallmines.settings.publish import Documents

if TYPE_CHECKING:
    import geopandas as gpd

OWN = ("run", "title", "version", "country", "crs", "tiles", "patches", "area_km2", "degrees", "years", "bands", "radiometry_verdicts")
OWN_TOO = ("splits", "split_method", "leakage", "split_reason", "software", "sources", "composite_findings", "released", "class_definition")
"""Facts of a region that stay as its own dataset states them."""

SENSORS = ("s2", "s1", "dem")


def merged_facts(
    parts: Sequence[Part],
    regions: Sequence[gpd.GeoDataFrame],
    labels: Mapping[str, Any],
    statistics: Mapping[str, Mapping[str, Any]],
    about: Documents,
    name: str,
    location_r2: float,
) -> dict[str, Any]:
    """Return the facts of the merged dataset as `facts.gather` does, with `regions`: facts of each part, name, licence and seal.

    Args:
        regions: rows of each part in the merged index, see `merge_tables.merged_rows`.
        labels: content of the merged labels.json.
        statistics: `band_statistics` by year, over all regions.
        name: of the merged dataset, in the place of a run's.
        location_r2: limit of R² from which place tells the class share (`doctor.location_r2`).
    """
    grids = [grid_facts(rows) for rows in regions]
    table = pd.concat([pd.DataFrame(rows.drop(columns="geometry")) for rows in regions], ignore_index=True)
    splits = {
        "source": _joined({part.name: part.facts["split_method"] for part in parts}),
        **measured_splits(regions, location_r2),
        "advice": "",
    }
    sources = FactSources(
        table,
        labels,
        splits,
        statistics,
        merged_windows(parts),
        merged_software(parts),
        {},
        [f"{part.name}: {finding}" for part in parts for finding in part.facts["composite_findings"]],
        _grid(parts, regions, grids),
    )
    facts = gather(sources, about, name, " and ".join(dict.fromkeys(part.country for part in parts)))
    facts.pop("released", None)  # each region says what its labels come from
    return {
        **facts,
        "sources": merged_sources(parts),
        "regions": [
            {
                "name": part.name,
                "license": part.licence,
                "seal": part.seal,
                **{key: part.facts[key] for key in (*OWN, *OWN_TOO) if key in part.facts},
            }
            for part in parts
        ],
    }


def _joined(texts: Mapping[str, str]) -> str:
    """Return texts of regions: once where they are equal, else each with its region."""
    return next(iter(texts.values())) if len(set(texts.values())) == 1 else "; ".join(f"{name}: {text}" for name, text in texts.items())


def _grid(parts: Sequence[Part], regions: Sequence[gpd.GeoDataFrame], grids: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return facts of all grids together; bounds are in the CRS where there is one, else in degrees."""

    def around(boxes: Any) -> list[float]:
        corners = np.array(list(boxes))
        return [*corners[:, :2].min(axis=0).tolist(), *corners[:, 2:].max(axis=0).tolist()]

    degrees = around(reproject(rows, "OGC:CRS84").total_bounds.round(6) for rows in regions)
    names = list(dict.fromkeys(part.crs for part in parts))
    return {
        **grids[0],
        "crs": ", ".join(names),
        "bounds": around(grid["bounds"] for grid in grids) if len(names) == 1 else degrees,
        "degrees": degrees,
    }


def merged_windows(parts: Sequence[Part]) -> dict[str, tuple[str, str]]:
    """Return first and last day of acquisitions by year, over all parts."""
    windows: dict[str, tuple[str, str]] = {}
    for part in parts:
        for year, (start, end) in part.windows.items():
            first, last = windows.get(year, (start, end))
            windows[year] = (min(first, start), max(last, end))
    return dict(sorted(windows.items()))


def measured_splits(regions: Sequence[gpd.GeoDataFrame], location_r2: float) -> dict[str, Any]:
    """Return `leakage` and `reason` of the splits of all regions together, with all tiles in one frame of rows and columns."""
    tables = []
    for rows in regions:
        corners = rows.geometry.bounds
        frame = pd.DataFrame(rows[["tile_id", "year", "split"]]).assign(class_percent=rows["mining_percent"], crs=str(rows.crs))
        tables.append(frame.assign(left=corners["minx"], top=corners["maxy"], side=corners["maxx"] - corners["minx"]))
    table = pd.concat(tables, ignore_index=True)
    row, col = cells_in_one_frame(
        table["crs"].to_numpy(object), table["left"].to_numpy(), table["top"].to_numpy(), float(table["side"].iloc[0])
    )
    report = described(table.assign(row=row, col=col), location_r2)
    return {key: report[key] for key in ("leakage", "reason")}


def merged_software(parts: Sequence[Part]) -> dict[str, Any]:
    """Return the versions that made the parts; where they are mixed, the number of regions with each."""
    versions: dict[str, dict[str, int]] = {}
    unknown: dict[str, int] = {}
    for part in parts:
        software = part.facts["software"]
        for package, numbers in software["versions"].items():
            for number in numbers:
                of_package = versions.setdefault(package, {})
                of_package[number] = of_package.get(number, 0) + 1
        for kind, count in software["unknown"].items():
            unknown[kind] = unknown.get(kind, 0) + count
    return {
        "versions": {package: sorted(numbers) for package, numbers in sorted(versions.items())},
        "mixed": {
            package: {number: {"regions": count} for number, count in sorted(numbers.items())}
            for package, numbers in sorted(versions.items())
            if len(numbers) > 1
        },
        "unknown": unknown,
    }


def merged_sources(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Return sources as `facts.image_sources` does, each once with the years of all parts."""
    years: dict[tuple[Any, ...], set[str]] = {}
    for part in parts:
        for source in part.facts["sources"]:
            key = tuple(source[name] for name in ("sensor", "provider", "edition", "differs"))
            years.setdefault(key, set()).update(source["years"])
    order = sorted(years.items(), key=lambda entry: (SENSORS.index(entry[0][0]), sorted(entry[1]), str(entry[0])))
    return [
        {"sensor": sensor, "years": sorted(own), "provider": provider, "edition": edition, "differs": differs}
        for (sensor, provider, edition, differs), own in order
    ]


def statements(parts: Sequence[Part], about: Documents) -> Documents:
    """Return what the documents state, filled from the parts where it is empty: title and authors; attributions are those of the parts."""
    titles = list(dict.fromkeys(str(part.facts["title"]) for part in parts))
    return Documents(
        authors=about.authors or tuple(dict.fromkeys(author for part in parts for author in part.authors)),
        doi=about.doi,
        license=about.license,
        date=about.date,
        url=about.url,
        attributions=tuple(dict.fromkeys(line for part in parts for line in part.attributions)),
        title=about.title or " and ".join(titles),
        description=about.description,
        contact=about.contact,
        funding=about.funding,
        version=about.version,
        class_definition=common_definition(parts),
    )


def common_definition(parts: Sequence[Part]) -> str:
    """Return the class definition that all parts state; empty where they state others, or one states none."""
    texts = {str(part.facts.get("class_definition", "")) for part in parts}
    return texts.pop() if len(texts) == 1 else ""
