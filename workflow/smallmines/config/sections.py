"""The configuration of a run: one frozen type per section; each key has a default and a description with its unit.

The sections of imagery and of the doctor are in `imagery.py` and `doctor.py`. `documentation.py` writes the schema and the table of
the keys from these types.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from smallmines.config.benchmark import Benchmark
from smallmines.config.doctor import Doctor
from smallmines.config.external import External
from smallmines.config.imagery import Elevation, Sentinel1, Sentinel2
from smallmines.config.map import Map
from smallmines.config.publish import Publish
from smallmines.config.released import Released
from smallmines.config.section import PathText, Section
from smallmines.core.product import S2Band
from smallmines.core.release import LICENSE
from smallmines.settings.splits import Method

LARGEST_SEED = 2**32 - 1
"""Largest seed that numpy and scikit-learn take."""


class Aoi(Section):
    """The area of interest."""

    source: Literal["file", "geoboundaries"] = Field(
        "file",
        description="`file`: a file of yours. `geoboundaries`: administrative units by name, downloaded once.",
    )
    path: PathText | None = Field(
        None,
        description="With `file`: any vector file that GDAL opens, in any CRS; relative to the repository. "
        "Empty: the only file `resources/user/<run>/aoi.*`.",
    )
    country: str = Field("GHA", pattern=r"^[A-Z]{3}$", description="With `geoboundaries`: ISO 3166-1 alpha-3 code of the country.")
    level: Literal["ADM0", "ADM1", "ADM2", "ADM3"] = Field("ADM2", description="With `geoboundaries`: level of the units.")
    names: tuple[str, ...] = Field((), description="With `geoboundaries`: exact names of the units.")
    release: str = Field("9469f09", description="With `geoboundaries`: the release, a commit of its repository.")
    base_url: str = Field(
        "https://github.com/wmgeolab/geoBoundaries/raw",
        description="With `geoboundaries`: address of the releases, or of a mirror.",
    )
    expected_area_km2: float | None = Field(
        None, gt=0, description="Expected size of the AOI in km² (in the grid's CRS); it may differ by 1 %. Empty: not checked."
    )

    @model_validator(mode="after")
    def _names(self) -> Self:
        if self.source == "geoboundaries" and not self.names:
            raise ValueError("aoi.source geoboundaries needs aoi.names")
        return self


class Anchor(Section):
    """Corner of the lattice of the tiles. At multiples of 20 m in the UTM zone of the area, Sentinel-2 pixels are copied."""

    x: float = Field(586600.0, ge=-2e7, le=2e7, description="Easting in m of the left edge of any tile.")
    y: float = Field(729640.0, ge=-2e7, le=2e7, description="Northing in m of the top edge of any tile.")


class Grid(Section):
    """The 10 m lattice, its tiles (fishnet) and blocks."""

    source: Literal["rule", "file", "released_folder"] = Field(
        "rule",
        description="`rule`: all cells of the lattice that the AOI touches, numbered from the south-west. "
        "`file`: tiles and ids from a vector file with a column `tile_id`. "
        "`released_folder`: tiles, ids and anchor from the headers of the `IMG_*` files in `folder`.",
    )
    file: PathText | None = Field(None, description="With `file`: the vector file, relative to the repository.")
    folder: PathText | None = Field(
        None, description="With `released_folder`: the folder of the released images, relative to the repository."
    )
    crs: str = Field(
        "EPSG:32630", description="A projected CRS with axes in metres: the UTM zone of the area, in which Sentinel-2 pixels are copied."
    )
    resolution: float = Field(10.0, ge=0.1, le=1000, description="Pixel size in m.")
    tile_size: int = Field(128, ge=8, le=4096, description="Pixels along the side of a tile.")
    anchor: Anchor = Field(default_factory=Anchor, description="Corner of the lattice.")
    blocks: int = Field(
        4,
        ge=1,
        le=9999,
        description="Number of blocks: groups of tiles made by k-means on their centroids. Each is one job per year and rule.",
    )
    block_seed: int = Field(0, ge=0, le=LARGEST_SEED, description="Seed of the k-means.")
    expected_tiles: int | None = Field(None, ge=1, description="Published number of tiles, to report beside that of the run.")
    released_ids_up_to: int | None = Field(
        None, ge=0, description="Tile ids up to this one are those of the released dataset. Empty: not stated in the index."
    )
    max_tiles: int = Field(
        20_000,
        ge=1,
        le=1_000_000,
        description="Maximum number of tiles of a run. More stop it before they are made: the area is wrong, or as large as a continent. "
        "SmallMinesDS has 2135.",
    )

    @field_validator("crs")
    @classmethod
    def _known_crs(cls, value: str) -> str:
        """Refuse a CRS that PROJ does not know. Whether it fits the area is checked once the area is read."""
        from pyproj import CRS
        from pyproj.exceptions import CRSError

        try:
            CRS.from_user_input(value)
        except (CRSError, ValueError):
            raise ValueError("no CRS that PROJ knows; write the code of the UTM zone of the area, e.g. EPSG:32630") from None
        return value

    @model_validator(mode="after")
    def _file(self) -> Self:
        if self.source == "file" and not self.file:
            raise ValueError("grid.source file needs grid.file")
        if self.source == "released_folder" and not self.folder:
            raise ValueError("grid.source released_folder needs grid.folder")
        return self


class Year(Section):
    """One epoch of the dataset."""

    start: dt.date = Field(description="First day of acquisitions, included.")
    end: dt.date = Field(description="Last day of acquisitions, included.")

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"end {self.end} lies before start {self.start}")
        return self


class Segmentation(Section):
    """Mean-shift segmentation with Orfeo ToolBox."""

    bands: tuple[S2Band, ...] = Field(get_args(S2Band), min_length=1, description="Bands of the composite to segment.")
    spatial_radius: int = Field(5, ge=1, description="Spatial radius in pixels.")
    range_radius: float = Field(100.0, gt=0, description="Range radius in digital numbers.")
    min_size: int = Field(5, ge=0, description="Minimum size in pixels. Smaller segments are merged into the most similar neighbour.")
    max_iterations: int = Field(10, ge=1, description="Maximum number of iterations of the smoothing per pixel.")
    convergence: float = Field(0.1, gt=0, description="The smoothing of a pixel stops when it changes by less.")
    backend: Literal["auto", "python", "cli"] = Field(
        "auto", description="`python`: otbApplication. `cli`: otbcli_*. `auto`: `python` if it can be imported, else `cli`."
    )


class Assistant(Section):
    """Random forest that predicts the label of each segment."""

    features: Literal["paper", "context"] = Field(
        "paper",
        description="Features of a segment. `paper`: means of the ten Sentinel-2 bands and of the DEM. `context`: also radar (VV, VH) "
        "and spectral indices (NDVI, MNDWI, bare soil), of the segment and in windows of 9 and 21 px around it; see docs/assistant.md.",
    )
    folds: int = Field(3, ge=2, description="Folds of the cross-validation, grouped by tile.")
    trees: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field((300,), min_length=1, description="Numbers of trees to try.")
    max_depth: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field((8, 15), min_length=1, description="Maximum depths to try.")
    min_samples_split: tuple[Annotated[int, Field(ge=2, le=1_000_000)], ...] = Field(
        (5, 16), min_length=1, description="Minimum numbers of samples in a node to split it, to try."
    )
    threshold: Literal["match_prevalence"] | Annotated[float, Field(gt=0, lt=1)] = Field(
        "match_prevalence",
        description="Share of the forest's votes from which a segment is mining. `match_prevalence`: such that the predicted share of "
        "the area meets the prevalence.",
    )
    prevalence: Literal["estimate", "sample"] | Annotated[float, Field(gt=0, lt=1)] = Field(
        "estimate",
        description="Share of mining for `match_prevalence`. `estimate`: from the samples and the forest. `sample`: from pixels drawn by "
        "chance that people look at (`smallmines labels sample --for prevalence`). Or a known number.",
    )
    prevalence_points: int = Field(200, ge=10, description="Pixels per block and year of the prevalence sample, when it is drawn.")
    on_missing_class: Literal["error", "pooled_model"] = Field(
        "error",
        description="For a block without samples of a class. `error`: stop. `pooled_model`: use a forest trained on "
        "the samples of all blocks.",
    )
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="Seed of the forest and the folds.")


class Annotate(Section):
    """Candidate points for the first labels (`snakemake annotate`)."""

    candidates: int = Field(2000, ge=1, description="Candidate points per block and year.")
    clusters: int = Field(100, ge=1, description="Clusters of similar segments (by the assistant's features), drawn from evenly.")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="Seed of the draw.")


class Transfer(Section):
    """Transfer of labels to a new segmentation."""

    covered: float = Field(0.5, gt=0, le=1, description="Minimum share of a new segment that is covered by labelled pixels.")
    purity: float = Field(0.8, gt=0.5, le=1, description="Minimum share of these pixels with the same label.")


class Queue(Section):
    """The review queue: its size, and shares of the reasons for which segments are in it."""

    size: int = Field(2000, ge=1, description="Segments per block and year in one round, over all annotators.")
    uncertainty: float = Field(0.4, ge=0, description="Share where the forest is least certain (entropy × area).")
    disagreement: float = Field(0.2, ge=0, description="Share where the forests of the other blocks predict another label.")
    unmined: float = Field(0.2, ge=0, description="Share of mining in an earlier year but not in this one: mines rarely vanish.")
    audit: float = Field(0.2, ge=0, description="Share of confident predictions, half of them not mining and near predicted mines.")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.uncertainty + self.disagreement + self.unmined + self.audit > 0:
            raise ValueError("the shares of the queue are all 0")
        return self


class Gates(Section):
    """Minimum quality of the labels of a release: `verify` fails below it. Empty: not checked."""

    minimum_kappa: float | None = Field(
        None, ge=-1, le=1, description="Minimum Cohen's κ of each pair of annotators over the blind overlap of each year."
    )
    maximum_open_share: float | None = Field(None, ge=0, le=1, description="Maximum share of the labelled area of each year that is open.")
    minimum_validated_share: float | None = Field(
        None, ge=0, le=1, description="Minimum share of the area of each year that people have looked at."
    )


class Labels(Section):
    """Where the labels come from, and people's work on them (`smallmines labels`, docs/labelling.md)."""

    source: Literal["people", "released_samples", "released_masks"] = Field(
        "people",
        description="`people`: samples and corrections of people. `released_samples`: samples and corrections are drawn from released "
        "masks, and people's own win over them. `released_masks`: the masks are the released ones; nothing is segmented.",
    )
    annotators: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")], ...] = Field(
        ("A01", "A02"), min_length=1, description="Codes of the annotators who share the queue. Only codes are published."
    )
    queue: Queue = Field(default_factory=Queue, description="The review queue.")
    overlap: int = Field(100, ge=0, description="Segments per block and year that all annotators label independently of each other.")
    overlap_near: PathText | None = Field(
        None, description="Vector file of water and settlements. Half of the overlap is drawn within 300 m of them. Empty: anywhere."
    )
    accuracy: int = Field(250, ge=1, description="Pixels per block and year of the accuracy sample (`smallmines labels sample`).")
    gates: Gates = Field(default_factory=Gates, description="Minimum quality of the labels of a release.")
    map_layers: dict[str, str] = Field(
        default_factory=dict, description="Additional layers of the QGIS project: name and XYZ address (`https://…/{z}/{x}/{y}.png`)."
    )
    transfer: Transfer = Field(default_factory=Transfer, description="Transfer of labels when segmentation or imagery change.")
    open: Literal["ignore", "background"] = Field(
        "ignore", description="Value of unsure and disputed segments in the masks: `ignore` is 255; `background` is 0, as in the release."
    )
    external: tuple[External, ...] = Field(
        (), description="Polygons that others drew, for `smallmines labels import-polygons`: docs/labelling.md#polygons-of-others."
    )
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="Seed of the queue and the overlap.")

    @field_validator("annotators")
    @classmethod
    def _each_annotator_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse codes that are equal but for the case: some file systems take their files for the same."""
        codes = [code.lower() for code in value]
        if twice := [code for code in value if codes.count(code.lower()) > 1]:
            raise ValueError(f"the code stands twice: {', '.join(twice)}; upper and lower case count as the same")
        return value


class Splits(Section):
    """Train, val and test of the finished dataset (docs/splits.md)."""

    method: Method = Field(
        "spatial_block",
        description="`spatial_block`: square blocks of tiles. `paper_histogram`: as in the release, each year separately; it leaks. "
        "`histogram_tile`: tiles at random. `leave_block_out`: the test is `test_block`. All but `paper_histogram` "
        "keep the years of a tile in one split.",
    )
    block_tiles: Literal["correlogram"] | Annotated[int, Field(ge=1)] = Field(
        "correlogram",
        description="Side of a square block in tiles. `correlogram`: the distance at which the autocorrelation of the "
        "class share reaches 0.",
    )
    train: float = Field(0.7, ge=0, le=1, description="Share of the tiles for training.")
    val: float = Field(0.1, ge=0, le=1, description="Share of the tiles for the choice of models and settings.")
    test: float = Field(0.2, ge=0, le=1, description="Share of the tiles for the test.")
    test_block: str | None = Field(None, description="With `leave_block_out`: the block of the run for the test.")
    buffer_tiles: int = Field(
        0, ge=0, description="Tiles of train and val within this many tiles of the test, and of train near val, belong to no split."
    )
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="Seed of the assignment.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train, val and test add up to {self.train + self.val + self.test:g}, not to 1")
        if self.method == "leave_block_out" and self.test_block is None:
            raise ValueError("method leave_block_out needs test_block")
        return self


class Config(Section):
    """The configuration of one run: an area, its epochs and the processing."""

    run: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=100, description="Name of the run; its results are in `results/<run>/`.")
    country: str = Field("GH", pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2 code of the country, in all file names.")
    aoi: Aoi = Field(default_factory=Aoi, description="Area of interest.")
    grid: Grid = Field(default_factory=Grid, description="Lattice, tiles and blocks.")
    years: dict[Annotated[int, Field(ge=1972, le=2100)], Year] = Field(min_length=1, description="Epochs by year.")
    sentinel2: Sentinel2 = Field(default_factory=Sentinel2, description="Sentinel-2.")
    sentinel1: Sentinel1 = Field(default_factory=Sentinel1, description="Sentinel-1.")
    elevation: Elevation = Field(default_factory=Elevation, description="Elevation.")
    segmentation: Segmentation = Field(default_factory=Segmentation, description="Segmentation.")
    assistant: Assistant = Field(default_factory=Assistant, description="Random forest.")
    annotate: Annotate = Field(default_factory=Annotate, description="Candidate points for the first labels.")
    labels: Labels = Field(default_factory=Labels, description="Labels: their source, and people's work on them.")
    released: Released = Field(default_factory=Released, description="The released dataset that labels are taken from.")
    splits: Splits = Field(default_factory=Splits, description="Train, val and test.")
    publish: Publish = Field(default_factory=Publish, description="Documents of the published folder.")
    doctor: Doctor = Field(default_factory=Doctor, description="Limits of the doctor's checks: values beyond them are findings.")
    benchmark: Benchmark = Field(default_factory=Benchmark, description="The paper's experiments on the dataset (`snakemake benchmark`).")
    map: Map = Field(default_factory=Map, description="The map of the run (`snakemake map`).")
    minimum_coverage: float = Field(
        0.99,
        ge=0,
        le=1,
        description="Minimum share of each block that the chosen scenes of each year and sensor cover, by footprints before any download, "
        "and of its pixels that the composite has data on.",
    )
    submit_downloads: bool = Field(
        False, description="On a cluster whose nodes have internet: submit `search` and `fetch` as jobs, too. Changes no product."
    )

    @field_validator("years", mode="before")
    @classmethod
    def _each_year_once(cls, value: Any) -> Any:
        """Refuse 2016 and "2016" or " 2016" beside each other, of which one would be lost."""
        names = [str(key).strip().lstrip("+0").replace("_", "") for key in value] if isinstance(value, dict) else []
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the year {', '.join(twice)} stands twice")
        return value

    @field_validator("years")
    @classmethod
    def _dates_of_the_year(cls, value: dict[int, Year]) -> dict[int, Year]:
        """Refuse dates that miss their year, and two years of the same dates: the images would be of another year than their name."""
        for number, year in value.items():
            if not year.start.year <= number <= year.end.year:
                raise ValueError(f"the dates of {number}, {year.start} to {year.end}, lie outside that year")
        dates = [(year.start, year.end) for year in value.values()]
        if twice := sorted(number for number, year in value.items() if dates.count((year.start, year.end)) > 1):
            raise ValueError(f"the years {', '.join(map(str, twice))} have the same dates")
        return value

    @model_validator(mode="after")
    def _sample_needs_a_forest(self) -> Self:
        if self.labels.source == "released_masks" and self.assistant.prevalence == "sample":
            raise ValueError(
                "assistant.prevalence sample: with labels.source released_masks there is no forest whose threshold it could set; "
                "leave assistant.prevalence out"
            )
        return self

    @model_validator(mode="after")
    def _license_of_the_release(self) -> Self:
        if self.labels.source != "people" and self.publish.license != LICENSE:
            raise ValueError(
                f"publish.license {self.publish.license}: labels of the release (labels.source {self.labels.source}) may only be "
                f"published under its licence, {LICENSE}"
            )
        return self

    @model_validator(mode="after")
    def _delay_needs_a_day(self) -> Self:
        if self.map.public == "polygons" and self.map.delay_days and self.publish.date is None:
            raise ValueError("map.delay_days counts from publish.date, which is empty; set it, or leave map.delay_days out")
        return self

    @property
    def blocks(self) -> list[str]:
        """Names of the blocks, from "1" in the south-west."""
        return [str(number) for number in range(1, self.grid.blocks + 1)]

    @property
    def year_names(self) -> list[str]:
        """The years in ascending order, as text in paths."""
        return [str(year) for year in sorted(self.years)]
