"""Time and memory of the benchmark's rows on a made pack of the size of SmallMinesDS: 4270 tiles of 128 × 128 px.

    PYTHONPATH=workflow python tests/bench/full_size.py FOLDER [--tiles 4270] [--rows boosting_6/fixed …] [--predict 128]

Values are noise around spectra of two classes: they say nothing about skill. Fits use all of train; predictions are timed on some tiles.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from smallmines.benchmark import runs, split_names
from smallmines.benchmark.models import fit
from smallmines.benchmark.pack import MODALITIES, Pack
from smallmines.config.benchmark import read_rows
from smallmines.core.files import write_json
from smallmines.settings.benchmark import settings_of_row

SIDE = 128
YEARS = (2016, 2022)


def make(folder: Path, tiles: int) -> None:
    """Write a pack of `tiles` tiles and years: clumps of mining on 6 % of the area, brighter in all bands."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    places = tiles // len(YEARS)
    across = int(np.ceil(np.sqrt(places)))
    arrays = {name: ((tiles, len(bands), SIDE, SIDE), "u2" if name == "s2" else "f4") for name, bands in MODALITIES.items()}
    arrays["mask"] = ((tiles, SIDE, SIDE), "u1")
    files = {name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, shape) for name, (shape, kind) in arrays.items()}
    share = rng.gamma(0.3, 20, (across // 4 + 1, across // 4 + 1)).repeat(4, 0).repeat(4, 1).clip(0, 60)
    noise = rng.normal(0, 1, (14, SIDE, SIDE)).astype(np.float32)
    records = []
    for number in range(tiles):
        place, year = number % places, YEARS[number // places]
        row, col = divmod(place, across)
        coarse = rng.random((SIDE // 8, SIDE // 8)).repeat(8, 0).repeat(8, 1)
        mask = (100 * coarse < share[row, col]).astype(np.uint8)
        turned = np.roll(noise, int(rng.integers(SIDE)), axis=2)
        files["mask"][number] = mask
        files["s2"][number] = np.rint(2500 + 400 * turned[:10] + 500.0 * mask)
        files["s1"][number], files["dem"][number] = -12 + turned[10:12], 200 + turned[12:13]
        split = "train" if place % 10 < 7 else "val" if place % 10 == 7 else "test"
        records.append((f"{place:04d}", year, split, str(1 + 2 * (row > across // 2) + (col > across // 2)), row, col, 100 * mask.mean()))
    table = pd.DataFrame(records, columns=["tile_id", "year", "split", "block", "row", "col", "mining_percent"])
    table.to_parquet(folder / "tiles.parquet")
    radiometry = {str(year): "dn_plus1000" for year in YEARS}
    write_json(folder / "pack.json", {"side": SIDE, "pixel": [10.0, 10.0], "radiometry": radiometry, "findings": {}, "statistics": {}})


def main() -> None:
    """Print a line a row: seconds of fit and prediction, peak memory so far."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tiles", type=int, default=4270)
    parser.add_argument(
        "--rows", nargs="+", default=["place_and_year/fixed", "index_threshold/fixed", "boosting_6/fixed", "boosting_13/fixed"]
    )
    parser.add_argument("--predict", type=int, default=128, help="tiles to predict")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    if not (given.folder / "pack.json").is_file():
        make(given.folder, given.tiles)
    pack = Pack.open(given.folder)
    begun = time.monotonic()
    for name in ("in_force", "paper_histogram", *(f"spatial_block_{fold}" for fold in range(1, 6))):
        split_names.assign(pack.tiles, name, 0)
    print(f"{len(pack)} tiles, 7 splits {time.monotonic() - begun:.1f} s")
    split = pack.tiles["split"].to_numpy(object)
    train, val, test = (runs.rows_of(split, name) for name in ("train", "val", "test"))
    for row in read_rows(Path(__file__).resolve().parents[2] / "config/benchmark", given.rows):
        begun, used = time.monotonic(), time.process_time()
        model = fit(pack, train, val, settings_of_row(row.values), 0, given.threads)
        fitted, fitted_cpu = time.monotonic() - begun, time.process_time() - used
        begun, used = time.monotonic(), time.process_time()
        model.on_pack(pack, test[: given.predict], given.threads)
        pixels = len(test[: given.predict]) * SIDE**2 / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rates = (time.monotonic() - begun) / pixels, (time.process_time() - used) / pixels
        print(
            f"{row.name}/{row.variant}: fit {fitted:.0f} s ({fitted_cpu:.0f} CPU), prediction {rates[0]:.1f} s a Mpx "
            f"({rates[1]:.1f} CPU), at most {peak:.0f} MB so far"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
