"""Write the dataset as Parquet shards that `datasets.load_dataset` reads in one line and the Hub shows with pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from smallmines.benchmark.pack import Sums
from smallmines.core.errors import UserError
from smallmines.core.files import remove, sha256, temporary_folder, write_json, written
from smallmines.core.json_products import BandStatistics, read_product
from smallmines.core.log import logger
from smallmines.core.product import BUFFER, IMAGE_NODATA, PATCH_BANDS, SPLITS
from smallmines.dataset.index import read_index
from smallmines.dataset.seal import SUMS
from smallmines.publish.card import write_card
from smallmines.publish.configurations import DEFAULT, SAMPLE, Configurations, configurations
from smallmines.publish.features import FILES, LEFT_OUT, features_of, path_name, shard_schema
from smallmines.publish.made_from import write_made_from
from smallmines.publish.model_statistics import statistics
from smallmines.publish.sample import LARGEST, sample_tiles
from smallmines.publish.shards import BESIDES, Shards, Written
from smallmines.publish.thumbnails import overlay, png, stretch, thumbnail
from smallmines.settings.splits import Splits

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

LOGGED_EVERY = 500


@dataclass(frozen=True)
class Sources:
    """What the shards are made from.

    Attributes:
        dataset: folder of the sealed dataset.
        statistics: `statistics/<year>.json` of all years.
    """

    dataset: Path
    statistics: Sequence[str]


def write_shards(sources: Sources, settings: Splits, target: str | Path) -> None:
    """Write the folder of shards: `data/`, `sample/`, the card, the licence, `statistics.json`, `made_from.json` and `SHA256SUMS`.

    Patches are read one by one, so that memory holds a row group. The folder appears as a whole.

    Args:
        settings: section `splits` of the run.
        target: the folder; what it holds is replaced.

    Raises:
        UserError: no tile is in a split, or a patch is missing, cannot be read, or is not the one that the index lists.
    """
    index = read_index(sources.dataset / "index.parquet")
    made, target = configurations(index, settings), Path(target)
    if not made.splits(DEFAULT):
        do = "make splits with smallmines splits make (docs/splits.md)"
        raise UserError(f"tiles of {', '.join(SPLITS)} in {sources.dataset}", f"none of {len(index)}", do)
    with temporary_folder(target) as folder:
        rows = Rows.of(sources)
        basis = statistics_basis(made)
        counts, bands = _write_data(rows, made, folder, basis)
        sampled = _write_sample(rows, index, folder)
        write_json(folder / "statistics.json", statistics(bands, basis, int(_in_basis(made, basis).sum())))
        write_made_from(sources.dataset, len(index), folder)
        (folder / "LICENSE").write_bytes((sources.dataset / "LICENSE").read_bytes())
        write_card(sources.dataset, made, counts, sampled, features_of(rows.schema), folder / "README.md")
        write_sums(folder)
        remove(target)
        os.replace(folder, target)
    size = sum(count.disk for count in counts.values())
    logger.info("%d patches in %.1f MB, configurations %s and %s", len(index), size / 1e6, ", ".join(made.same_as), SAMPLE)


def statistics_basis(made: Configurations) -> str:
    """Return the split over which the bands' statistics are taken: train, or all rows where it has none."""
    return "train" if "train" in made.splits(DEFAULT) else "all"


def _in_basis(made: Configurations, basis: str) -> NDArray[np.bool_]:
    own = made.levels[DEFAULT]
    return np.asarray(own == basis if basis != "all" else np.ones(len(own)), bool)


def write_sums(folder: Path) -> None:
    """Write `SHA256SUMS` over all files of a folder."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    with written(folder / SUMS) as beside:
        beside.write_text("".join(f"{sha256(folder / name)}  {name}\n" for name in names), encoding="utf-8")


@dataclass(frozen=True)
class Rows:
    """The rows of the dataset with their files.

    Attributes:
        dataset: its folder.
        table: columns of the index with their names in the shards.
        schema: of the shards.
        ends: of the stretch of the pictures.
    """

    dataset: Path
    table: pa.Table
    schema: pa.Schema
    ends: NDArray[np.float64]

    @staticmethod
    def of(sources: Sources) -> Rows:
        """Read the index of a dataset."""
        import pyarrow.parquet as pq

        index = pq.read_table(sources.dataset / "index.parquet")
        schema = shard_schema(index.schema)
        kept = index.select([name for name in index.column_names if name not in LEFT_OUT])
        table = kept.rename_columns([path_name(name) for name in kept.column_names]).replace_schema_metadata(None)
        years = [read_product(path, dict[str, BandStatistics]) for path in sources.statistics]
        return Rows(sources.dataset, table, schema, stretch(years))

    def shards(self, folder: Path) -> Shards:
        """Return empty shards in a folder."""
        return Shards(folder, self.table, self.schema)

    def files(self, row: int) -> tuple[dict[str, bytes], NDArray[Any]]:
        """Return the files of a row and its image, (band, row, column).

        Raises:
            UserError: a patch is missing, cannot be read, or is another one than the index lists.
        """
        content = {name: self._content(row, name) for name in FILES}
        paths = {name: self.table[f"{name}_path"][row].as_py() for name in FILES}
        image, mask = (_decoded(content[name], paths[name]) for name in FILES)
        if len(image) != len(PATCH_BANDS):
            raise UserError(
                f"{len(PATCH_BANDS)} bands in {paths['image']}", f"{len(image)}", "run again with --forcerun image_patches assemble"
            )
        colours = thumbnail(image, self.ends)
        return {**content, "thumbnail": png(colours), "overlay": png(overlay(colours, mask[0]))}, image

    def _content(self, row: int, column: str) -> bytes:
        path, listed = self.dataset / self.table[f"{column}_path"][row].as_py(), self.table[f"{column}_sha256"][row].as_py()
        try:
            content: bytes = path.read_bytes()
        except OSError as error:
            raise UserError(f"the file {path}", error.strerror or str(error), "run again with --forcerun assemble") from None
        if (own := hashlib.sha256(content).hexdigest()) != listed:
            raise UserError(f"SHA-256 {listed} of {path}, as the index states it", own, "run again with --forcerun assemble")
        return content


def _decoded(content: bytes, path: str) -> NDArray[Any]:
    """Return the pixels of a GeoTIFF, (band, row, column)."""
    try:
        with rasterio.MemoryFile(content) as memory, memory.open() as source:
            pixels: NDArray[Any] = source.read()
            return pixels
    except RasterioError as error:
        raise UserError(f"a readable patch {path}", " ".join(str(error).split()), "run again with --forcerun image_patches") from None


def _write_data(rows: Rows, made: Configurations, folder: Path, basis: str) -> tuple[dict[str, Written], dict[str, dict[str, float]]]:
    """Write the shards of all rows; return what was written by folder, and the statistics of the bands over the rows of `basis`."""
    sums, counts, done = Sums(PATCH_BANDS), {}, 0
    in_basis = _in_basis(made, basis)
    for path, members in made.folders().items():
        shards = rows.shards(folder / path)
        for row in members.tolist():
            files, image = rows.files(row)
            shards.add(row, files)
            if in_basis[row]:
                sums.add(np.where(image == IMAGE_NODATA, np.nan, image).astype(np.float32))
            done += 1
            if done % LOGGED_EVERY == 0:
                logger.info("%d of %d patches written", done, len(rows.table))
        counts[path] = shards.close()
    return counts, sums.result()


def _write_sample(rows: Rows, index: pd.DataFrame, folder: Path) -> dict[str, Written]:
    """Write the tiles of the sample, as many as `LARGEST` bytes hold; return what was written by split."""
    room = LARGEST
    chosen: list[list[int]] = []
    for tile in sample_tiles(index):
        own = np.flatnonzero((index["tile_id"] == tile).to_numpy() & (index["split"] != BUFFER).to_numpy()).tolist()
        size = sum(sum(map(len, rows.files(row)[0].values())) + BESIDES for row in own)
        if size > room:
            logger.warning("the sample has %d tiles: more would be larger than %.0f MB", len(chosen), LARGEST / 1e6)
            break
        room -= size
        chosen.append(own)
    counts, split = {}, index["split"].to_numpy(object)
    for name in SPLITS:
        members = sorted(row for own in chosen for row in own if split[row] == name)
        if members:
            shards = rows.shards(folder / SAMPLE / name)
            for row in members:
                shards.add(row, rows.files(row)[0])
            counts[name] = shards.close()
    return counts
