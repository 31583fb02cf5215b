"""Paths of a run's files: products, people's files, downloads, logs. Each path is stated here and in the rules, nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PixelSample = Literal["accuracy", "prevalence", "change_before", "change_after"]
"""Kinds of samples of single pixels, and the folders of their files, see `labels.pixel_samples`."""

# Pixels read from the archives, shared by all runs.
PIXELS = Path("resources/automatic/pixels")

# Files of released datasets, shared by all runs.
RELEASED = Path("resources/automatic/released")


@dataclass(frozen=True)
class UserFolder:
    """Paths of the files that people give and of the working copies they edit.

    Attributes:
        path: `resources/user/<run>`.
    """

    path: Path

    @property
    def frozen_splits(self) -> Path:
        """Frozen splits of the dataset."""
        return self.path / "splits.csv"

    @property
    def manifests(self) -> Path:
        """Folder of the manifests that replace a search, `<year>/<sensor>.json`."""
        return self.path / "manifests"

    @property
    def aoi(self) -> Path:
        """Area of interest, without its suffix."""
        return self.path / "aoi"

    @property
    def released(self) -> Path:
        """Revision, size and checksum of the released dataset that the run is pinned to (JSON)."""
        return self.path / "released.json"

    @property
    def released_sums(self) -> Path:
        """Checksums of the released masks that the run is pinned to, as `sha256sum` writes them."""
        return self.path / "released.sha256"

    @property
    def imported(self) -> Path:
        """Folder of the records of `import-masks`."""
        return self.path / "imported"

    @property
    def work(self) -> Path:
        """Folder of the working copies, `<annotator>/<year>-<block>.gpkg`."""
        return self.path / "work"

    @property
    def bases(self) -> Path:
        """Folder of the bases of the working copies and of the sessions in the browser, `<year>/<block>/<id>.parquet`."""
        return self.path / "bases"

    @property
    def browser(self) -> Path:
        """Folder of the labelling in the browser: journal of the edits, lock, tokens, snapshots."""
        return self.path / "browser"

    @property
    def journal(self) -> Path:
        """Journal of the edits made in the browser (SQLite), unless another folder was chosen for it."""
        return self.browser / "journal.sqlite"

    @property
    def journal_place(self) -> Path:
        """Path of the journal (JSON) where another folder was chosen for it."""
        return self.browser / "journal.json"

    @property
    def server_lock(self) -> Path:
        """Lock of the server of the run."""
        return self.browser / "lock"

    @property
    def tokens(self) -> Path:
        """Digests of the tokens with which people log in (JSON)."""
        return self.browser / "tokens.json"

    @property
    def logins(self) -> Path:
        """Digests of the cookies of those who are logged in (JSON)."""
        return self.browser / "logins.json"

    def shown_products(self, name: str) -> Path:
        """Folder of the products that sessions in the browser show, kept from the next run."""
        return self.browser / "snapshots" / name

    def samples(self, year: str, block: str) -> Path:
        """Samples of a block, without their suffix."""
        return self.path / "samples" / year / block

    def events(self, year: str, block: str) -> Path:
        """Folder of the event files of a block, `<utc>-<annotator>-<hash>.jsonl`."""
        return self.path / "events" / year / block

    def overlap(self, year: str) -> Path:
        """Folder of the segments for blind double labelling, `<block>-<hash>.csv`."""
        return self.path / "overlap" / year

    def pixel_sample(self, kind: PixelSample, year: str, block: str) -> Path:
        """Points of a sample of pixels."""
        return self.path / kind / year / f"{block}.csv"

    def references(self, kind: PixelSample, year: str, block: str) -> Path:
        """Folder of the event files with the reference labels of a sample of pixels."""
        return self.path / kind / year / block

    def import_record(self, year: str, block: str) -> Path:
        """Masks that `import-masks` read and tiles that it held out."""
        return self.imported / year / f"{block}.csv"

    def base(self, year: str, block: str, name: str) -> Path:
        """Base of a working copy: the rows as they were at checkout."""
        return self.bases / year / block / f"{name}.parquet"

    def archived_copy(self, year: str, block: str, name: str) -> Path:
        """A working copy as it was at checkin."""
        return self.path / "archive" / year / block / f"{name}.gpkg"

    def archived_edits(self, year: str, block: str, name: str) -> Path:
        """The edits made in the browser that a hand-in was made from, one JSON object per line."""
        return self.path / "archive" / year / block / f"{name}.edits.jsonl"


@dataclass(frozen=True)
class Layout:
    """Paths of a run.

    Attributes:
        run: name of the run.
        root: folder of the repository.
    """

    run: str
    root: Path = Path()

    @property
    def results(self) -> Path:
        """Folder of all products."""
        return self.root / "results" / self.run

    @property
    def user(self) -> UserFolder:
        """People's files."""
        return UserFolder(self.root / "resources/user" / self.run)

    @property
    def automatic(self) -> Path:
        """Folder of the downloaded or generated inputs."""
        return self.root / "resources/automatic" / self.run

    @property
    def archive(self) -> Path:
        """Static STAC catalogue of a miniature run."""
        return self.automatic / "archive"

    @property
    def truth(self) -> Path:
        """Folder of the true masks of a miniature run, `<year>.tif`."""
        return self.automatic / "truth"

    @property
    def logs(self) -> Path:
        """Folder of the logs."""
        return self.root / "logs" / self.run

    @property
    def benchmarks(self) -> Path:
        """Folder of Snakemake's benchmark files."""
        return self.root / "benchmarks" / self.run

    @property
    def grid(self) -> Path:
        """Lattice of the run (JSON)."""
        return self.results / "grid/grid.json"

    @property
    def manifests(self) -> Path:
        """Folder of the manifests, `<year>/<sensor>.json`."""
        return self.results / "manifests"

    @property
    def browser(self) -> Path:
        """Folder of the tiles that the server of the labelling has drawn; it may be deleted at any time."""
        return self.results / "browser"

    def change(self, first: str, last: str) -> Path:
        """Map of the change between two years."""
        return self.results / f"map/change/{first}_{last}/change.tif"

    @property
    def dataset(self) -> Path:
        """Folder of the dataset."""
        return self.results / "dataset"

    @property
    def splits(self) -> Path:
        """Splits of the dataset."""
        return self.dataset / "splits.csv"

    @property
    def split_report(self) -> Path:
        """Numbers and leakage of the splits (JSON)."""
        return self.results / "splits.json"

    @property
    def huggingface(self) -> Path:
        """Folder of the dataset as shards for Hugging Face."""
        return self.results / "huggingface"

    @property
    def comparison(self) -> Path:
        """Folder of a comparison with a published dataset."""
        return self.results / "compare"

    @property
    def release(self) -> Path:
        """Record of the released dataset that labels are taken from (JSON)."""
        return self.results / "released/release.json"

    def released_mask(self, year: str, block: str) -> Path:
        """Released masks pasted on a block's grid, with `labels.source` `released_samples`."""
        return self.results / "released" / year / block / "mask.tif"

    def s2(self, year: str, block: str) -> Path:
        """Sentinel-2 composite."""
        return self.results / "composites" / year / block / "s2.tif"

    def s1(self, year: str, block: str) -> Path:
        """Sentinel-1 composite."""
        return self.results / "composites" / year / block / "s1.tif"

    def dem(self, block: str) -> Path:
        """Elevation."""
        return self.results / "composites/static" / block / "dem.tif"

    def clear(self, year: str, block: str) -> Path:
        """Validity of the Sentinel-2 composite's pixels."""
        return self.results / "composites" / year / block / "clear.tif"

    def segments(self, year: str, block: str) -> Path:
        """Segments (label raster)."""
        return self.results / "segments" / year / block / "segments.tif"

    def features(self, year: str, block: str) -> Path:
        """Features of the segments."""
        return self.results / "segments" / year / block / "features.parquet"

    def context(self, year: str, block: str) -> Path:
        """Context features of the segments."""
        return self.results / "segments" / year / block / "context.parquet"

    def samples(self, year: str, block: str) -> Path:
        """Segments that samples label."""
        return self.results / "people" / year / block / "samples.parquet"

    def decisions(self, year: str, block: str) -> Path:
        """Segments that events label."""
        return self.results / "people" / year / block / "decisions.parquet"

    def review(self, year: str, block: str) -> Path:
        """Segments whose decisions need another look."""
        return self.results / "people" / year / block / "review.csv"

    def forest(self, year: str, block: str) -> Path:
        """Random forest of a block."""
        return self.results / "assistant" / year / block / "model.joblib"

    def forest_metrics(self, year: str, block: str) -> Path:
        """Settings, threshold and metrics of the forest (JSON)."""
        return self.results / "assistant" / year / block / "metrics.json"

    def probabilities(self, year: str, block: str) -> Path:
        """Probability of mining of each segment."""
        return self.results / "assistant" / year / block / "probabilities.parquet"

    def labels(self, year: str, block: str) -> Path:
        """Label of each segment."""
        return self.results / "labels" / year / f"{block}.parquet"

    def mask(self, year: str, block: str) -> Path:
        """Mask."""
        return self.results / "masks" / year / f"{block}.tif"

    def measured(self, year: str, block: str, kind: str) -> Path:
        """Measurements of the patches of a block, `IMAGE` or `MASK`."""
        return self.results / "measured" / year / block / f"{kind}.parquet"

    def index_rows(self, year: str, block: str) -> Path:
        """Rows of a block for the index."""
        return self.results / "indexed" / year / f"{block}.parquet"

    def tuning(self, year: str, block: str) -> Path:
        """Folder of `segments tune`."""
        return self.results / "tune" / year / block

    def true_mask(self, year: str) -> Path:
        """True mask of a miniature run."""
        return self.truth / f"{year}.tif"
