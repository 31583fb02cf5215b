"""Read samples (labelled points and polygons, one file per block and year) and join them to segments.

Snakemake compares the digests computed here: they depend on the content of a file, not on its bytes or its time.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallmines.core.crs import DEGREES, reproject_shapes
from smallmines.core.errors import UserError
from smallmines.core.files import flat
from smallmines.labels.event_files import ANNOTATOR
from smallmines.labels.sample_files import TEXTS, how_to_restore, read_raw, rows

if TYPE_CHECKING:
    import pandas as pd
    from odc.geo.geobox import GeoBox

SUFFIXES = (".gpkg", ".geojson", ".csv")
"""Suffixes of a sample file."""

LABELS = {"mining": 1, "not_mining": 0}
"""Values of the attribute `label`, and the number of each in tables."""

NEGATIVE_TYPES = ("settlement", "vegetation", "clear water", "bare land", "forest")
"""Types of land that the non-mining samples should cover (SmallMinesDS, doi 10.1109/LGRS.2025.3566356)."""


class Samples(NamedTuple):
    """Labelled features of one file.

    Attributes:
        table: number (int64, 1-based position in the file), label, subclass, annotator (str, "" where none).
        geometry: shapely points and polygons of the same length.
        unlabelled: number of features without a label, which are left out.
    """

    table: pd.DataFrame
    geometry: NDArray[Any]
    unlabelled: int


# --- reading --------------------------------------------------------------------------------------------------------------


def sample_file(paths: Sequence[str], wanted: str, command: str) -> str:
    """Return the one sample file of a block and year.

    Args:
        paths: the sample files that exist.
        wanted: path where the file should lie, without its suffix.
        command: what makes candidates for it.

    Raises:
        UserError: there is none, or several.
    """
    forms = "{" + ",".join(suffix[1:] for suffix in SUFFIXES) + "}"
    if not paths:
        raise UserError(
            f"labelled samples at {wanted}.{forms}",
            "no such file",
            f"run `{command}` for candidate points, fill in their labels and save them there; or use samples of your own",
        )
    if len(paths) > 1:
        raise UserError(f"one sample file {wanted}.{forms}", ", ".join(sorted(paths)), "keep one of them and move the others away")
    return paths[0]


def read_samples(path: str | Path, crs: str) -> Samples:
    """Read the labelled features of a file and reproject them to `crs`.

    Args:
        path: GeoPackage or GeoJSON with points or polygons, or CSV with x, y[, crs] or lon, lat; attribute `label`,
            optionally `subclass` and `annotator`. Features with an empty label are candidates that are not filled in yet.
        crs: the grid's CRS; also that of CSV columns x, y where no column crs says otherwise.

    Raises:
        UserError: unreadable file, no attribute `label`, no CRS; naming rows: other labels, annotators that are no codes, other
            geometries, coordinates or CRS that are none, one place with both labels.
    """
    import pandas as pd
    import shapely

    try:
        raw = read_raw(Path(path), crs)
    except UserError:
        raise
    except Exception as error:  # whatever a driver raises on a file it cannot read
        found = f"{type(error).__name__}: {flat(error)[:300]}"
        raise UserError(f"a readable sample file at {path}", found, how_to_restore(Path(path))) from None
    table = pd.DataFrame(raw.texts)
    table.insert(0, "number", np.arange(1, len(table) + 1))
    filled = (table["label"] != "").to_numpy()
    table, geometry = table[filled], raw.geometry[filled]
    _require_labels_and_shapes(table, geometry, path)
    projected = _projected(geometry, raw.crs[filled], crs, table["number"].to_numpy(), path)
    _require_no_contradiction(table, projected, path)
    polygons = np.isin(shapely.get_type_id(geometry), [3, 6])
    projected[polygons] = shapely.make_valid(projected[polygons])
    points, owner = shapely.get_parts(projected[~polygons], return_index=True)  # a multi-point becomes points
    places = np.concatenate([np.flatnonzero(~polygons)[owner], np.flatnonzero(polygons)])
    features = np.concatenate([points, projected[polygons]])
    order = np.argsort(places, kind="stable")
    return Samples(table.iloc[places[order]].reset_index(drop=True), features[order], int((~filled).sum()))


def _require_labels_and_shapes(table: pd.DataFrame, geometry: NDArray[Any], path: str | Path) -> None:
    """Refuse other labels than `LABELS`, names of annotators that are no codes, and features that are no points or polygons."""
    import shapely

    wrong = table[~table["label"].isin(list(LABELS))]
    if len(wrong):
        listed = "; ".join(f"row {row.number}: {str(row.label)[:40]!r}" for row in wrong.head(10).itertuples())
        more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise UserError(f"labels {' or '.join(LABELS)} in {path}", listed + more, "correct these rows")
    named = table[(table["annotator"] != "") & ~table["annotator"].str.fullmatch(ANNOTATOR.pattern)]
    if len(named):
        raise UserError(
            f"codes of annotators (at most 40 letters, digits and _ . -) in {path}",
            f"{rows(named['number'].tolist())}: {str(named['annotator'].iloc[0])[:40]!r}",
            "replace names and addresses by codes, e.g. A01; only codes are published",
        )
    numbers = table["number"].to_numpy()
    bad = shapely.is_empty(geometry) | ~np.isin(shapely.get_type_id(geometry), [0, 3, 4, 6])
    if bad.any():
        kinds = sorted({str(getattr(shape, "geom_type", None) or "none") for shape in geometry[bad]})
        found = f"{rows(numbers[bad].tolist())}: empty, or another shape ({', '.join(kinds)})"
        raise UserError(f"points or polygons in {path}", found, "correct these rows")
    lost = ~np.isfinite(shapely.bounds(geometry)).all(axis=-1)
    if lost.any():
        raise UserError(f"coordinates in {path}", f"{rows(numbers[lost].tolist())}: coordinates that are no numbers", "correct these rows")


def _projected(geometry: NDArray[Any], systems: NDArray[Any], crs: str, numbers: NDArray[Any], path: str | Path) -> NDArray[Any]:
    """Reproject geometries, each from its own CRS, to `crs`."""
    projected = geometry.copy()
    for system in sorted(set(systems)):
        if not system:
            raise UserError(f"a CRS in {path}", "none", "save the file with its CRS")
        in_system = systems == system
        try:
            projected[in_system] = reproject_shapes(geometry[in_system], system, crs, file=path)
        except UserError as error:
            raise UserError(error.expected, f"{error.found} ({rows(numbers[in_system].tolist())})", error.do) from None
    return projected


def _require_no_contradiction(table: pd.DataFrame, geometry: NDArray[Any], path: str | Path) -> None:
    """Refuse features of the same shape (to a centimetre) with different labels."""
    import pandas as pd
    import shapely

    shapes = shapely.to_wkb(shapely.normalize(shapely.transform(geometry, lambda xy: np.round(xy, 2) + 0.0)))
    place = pd.factorize(shapes)[0]
    label = table["label"].map(LABELS).to_numpy()
    mined, all_of_it = np.bincount(place, label), np.bincount(place)
    both = (mined > 0) & (mined < all_of_it)
    if both.any():
        numbers = table["number"].to_numpy()
        pairs = [rows(numbers[place == index].tolist()) for index in np.flatnonzero(both)[:5]]
        more = f" and {int(both.sum()) - 5} places more" if both.sum() > 5 else ""
        raise UserError(
            f"one label at each place in {path}",
            f"mining and not_mining at the same place: {'; '.join(pairs)}{more}",
            "keep the right one of each, or none",
        )


# --- digests --------------------------------------------------------------------------------------------------------------


def samples_digest(paths: Iterable[str], crs: str) -> str:
    """Digest the content of sample files as 16 hex digits: geometry (to 1e-7 of the CRS's unit), label, subclass, annotator, sorted.

    Neither the order of the features nor the bytes of the file matter; features without a label are left out.
    Of an unreadable file the bytes count: the rule's script then reports what is wrong with it.
    """
    return _combined(_samples_digest(path, _stamp(path), crs) for path in paths)


def events_digest(paths: Iterable[str]) -> str:
    """Digest the content of event files as 16 hex digits; their names and times do not matter."""
    return _combined(_bytes_digest(path, _stamp(path)) for path in paths)


def _combined(digests: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(sorted(digests)).encode()).hexdigest()[:16]


def _stamp(path: str) -> tuple[int, int]:
    """Return time and size, so that a file is read once per process; (0, 0) where it is missing."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


@functools.cache
def _samples_digest(path: str, stamp: tuple[int, int], crs: str) -> str:
    import shapely

    try:
        raw = read_raw(Path(path), crs)
        geometry = shapely.normalize(shapely.transform(raw.geometry, lambda xy: np.round(xy, 7) + 0.0))
        single = (shapely.get_num_geometries(geometry) == 1) & (shapely.get_type_id(geometry) >= 4)
        geometry[single] = shapely.get_geometry(geometry[single], 0)  # a GeoPackage may promote to multi
        shapes = shapely.to_wkb(geometry, hex=True, byte_order=1)
        columns = [shapes, raw.crs, *(raw.texts[name] for name in TEXTS)]
        rows = sorted(json.dumps(row) for row in np.column_stack(columns).tolist() if row[2])
    except Exception:
        return _bytes_digest(path, stamp)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


@functools.cache
def _bytes_digest(path: str, stamp: tuple[int, int]) -> str:
    try:
        if Path(path).is_file():  # a pipe would be waited for
            return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        pass
    return f"unreadable {stamp}"


# --- joining --------------------------------------------------------------------------------------------------------------


class Joined(NamedTuple):
    """Labels that samples give to segments.

    Attributes:
        samples: one row per labelled segment: segment (uint32), label (int8), subclass, who (str), in segment order.
        refused: one row per sample and reason: what, which, segment, why (str).
    """

    samples: pd.DataFrame
    refused: pd.DataFrame


def join(samples: Samples, segments: NDArray[np.uint32], own: NDArray[np.bool_], geobox: GeoBox, source: str) -> Joined:
    """Join points and polygons to segments.

    A point labels the segment it lies in. A polygon labels each segment of which it covers at least half of the pixels
    (their centres; one on the edge counts). Segments with both labels, or covered by less, are refused.

    Args:
        segments: label raster (row, column) on `geobox`, 0 = no data.
        own: True in the block's own cells.
        source: path of the file, for messages.

    Raises:
        UserError: samples outside the block's own cells, with counts.
    """
    import pandas as pd

    links = _links(samples, segments, own, geobox, source)
    covering = links[(links["segment"] > 0) & (links["share"] >= 0.5)]
    lowest, highest = (covering.groupby("segment")["label"].agg(name) for name in ("min", "max"))
    conflict = covering["segment"].isin(lowest.index[lowest != highest])
    kept = covering[~conflict]
    refused = pd.concat(
        [
            links[links["segment"] == 0].assign(why="no segment there: no Sentinel-2 data, or a polygon without a pixel centre"),
            links[(links["segment"] > 0) & (links["share"] < 0.5) & ~links["segment"].isin(covering["segment"])].assign(
                why="the polygon covers less than half of the segment"
            ),
            covering[conflict].assign(why="conflicting labels on the segment"),
        ]
    ).sort_values(["number", "segment", "why"])
    refused = refused.assign(what="sample", which=refused["number"].astype(str))
    by_segment = kept.groupby("segment", sort=True)
    table = pd.DataFrame(
        {
            "segment": np.unique(kept["segment"]).astype(np.uint32),
            "label": by_segment["label"].first().to_numpy(np.int8),
            "subclass": _joined_texts(by_segment["subclass"]),
            "who": _joined_texts(by_segment["annotator"]),
        }
    )
    return Joined(table, refused[["what", "which", "segment", "why"]].drop_duplicates(ignore_index=True))


def _links(samples: Samples, segments: NDArray[np.uint32], own: NDArray[np.bool_], geobox: GeoBox, source: str) -> pd.DataFrame:
    """Pair samples and segments: sample, segment (0: none), share of the segment that is covered, and the columns of the sample.

    Raises:
        UserError: samples outside the block's own cells, with counts.
    """
    import pandas as pd
    import shapely

    points = shapely.get_type_id(samples.geometry) == 0
    row, col, on_grid = _pixels(shapely.get_coordinates(shapely.point_on_surface(samples.geometry)), geobox)
    inside = np.zeros(len(points), bool)
    inside[on_grid] = own[row[on_grid], col[on_grid]]
    covered = _coverage(samples.geometry[~points], segments, own, geobox)
    covered["sample"] = np.flatnonzero(~points)[covered["sample"]]
    inside[covered["sample"]] = True
    if not inside.all():
        raise UserError(
            f"samples inside the block's own tiles in {source}",
            f"{int((~inside).sum())} of {len(inside)} outside (row {int(samples.table['number'][~inside].iloc[0])} first)",
            f"move them to the file of their block, or correct their coordinates or CRS{_hint(samples.geometry[~inside], geobox)}",
        )
    covered["share"] = covered.pop("pixels") / np.bincount(segments.ravel())[covered["segment"]]
    hits = pd.DataFrame({"sample": np.flatnonzero(points), "segment": segments[row[points], col[points]].astype(np.int64), "share": 1.0})
    links = pd.concat([hits, covered], ignore_index=True)
    unpaired = pd.DataFrame({"sample": np.setdiff1d(np.arange(len(points)), links["sample"]), "segment": 0, "share": 0.0})
    links = pd.concat([links, unpaired], ignore_index=True)
    return links.join(samples.table.assign(label=samples.table["label"].map(LABELS)), on="sample")


def _hint(outside: NDArray[Any], geobox: GeoBox) -> str:
    """Say what is most likely wrong with shapes outside of a block: degrees taken for metres, or latitude and longitude swapped."""
    import shapely

    around = shapely.box(*geobox.extent.boundingbox)
    xy = shapely.get_coordinates(shapely.centroid(outside))
    if (abs(xy) <= 180).all():
        return " (these are degrees: name the columns lon and lat)"
    try:
        degrees = reproject_shapes(shapely.points(xy), geobox.crs.proj, DEGREES)
        swapped = reproject_shapes(shapely.transform(degrees, lambda lonlat: lonlat[:, ::-1]), DEGREES, geobox.crs.proj)
    except UserError:
        return ""
    return " (latitude and longitude are swapped)" if shapely.intersects(swapped, around).any() else ""


def _pixels(xy: NDArray[np.float64], geobox: GeoBox) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return row and column of the pixel of each coordinate, and whether it lies on the grid."""
    col, row = (np.floor(axis).astype(np.int64) for axis in ~geobox.transform @ (xy[:, 0], xy[:, 1]))
    height, width = geobox.shape
    return row, col, (row >= 0) & (row < height) & (col >= 0) & (col < width)


def _coverage(polygons: NDArray[Any], segments: NDArray[np.uint32], own: NDArray[np.bool_], geobox: GeoBox) -> pd.DataFrame:
    """Count the pixels of each segment that each polygon covers: sample, segment, pixels (int64), where there are any.

    Strips are rasterised to find the pixels that any polygon touches; a spatial index then finds the polygons over each of these
    pixel centres, so that overlapping polygons are counted separately and their order does not matter.
    """
    import pandas as pd
    import rasterio.features
    import shapely

    from smallmines.core import raster

    tree = shapely.STRtree(polygons)
    pairs, counts = [np.empty((0, 2), np.int64)], [np.empty(0, np.int64)]
    for window in raster.strips(segments.shape) if len(polygons) else ():
        strip = raster.window_geobox(geobox, window)
        near = polygons[tree.query(shapely.box(*strip.extent.boundingbox))]
        if not len(near):
            continue
        touched = rasterio.features.rasterize(near, out_shape=strip.shape, transform=strip.transform, all_touched=True, dtype="uint8")
        top = int(window.row_off)
        row, col = np.nonzero(touched.astype(bool) & own[top : top + touched.shape[0]])
        x, y = geobox.transform @ (col + 0.5, row + top + 0.5)
        pixel, polygon = tree.query(shapely.points(x, y), predicate="intersects")
        covered = np.column_stack([polygon, segments[row[pixel] + top, col[pixel]].astype(np.int64)])
        unique, number = np.unique(covered, axis=0, return_counts=True)
        pairs.append(unique)
        counts.append(number)
    table = pd.DataFrame(np.concatenate(pairs), columns=["sample", "segment"]).assign(pixels=np.concatenate(counts))
    return table.groupby(["sample", "segment"])["pixels"].sum().reset_index()


def _joined_texts(grouped: Any) -> list[str]:
    """Return the distinct texts of each group, sorted and joined by `|`."""
    return ["|".join(sorted(set(texts) - {""})) for texts in grouped.agg(list)]
