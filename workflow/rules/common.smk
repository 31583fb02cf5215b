# Constants and functions for the rules in the other files of this folder.
import functools

from snakemake.exceptions import WorkflowError

from smallmines.benchmark.split_files import splits_of
from smallmines.config.benchmark import read_rows
from smallmines.core.files import digest, sha256
from smallmines.core.patch_files import images_digest
from smallmines.labels.samples import events_digest
from smallmines.labels.user_files import UserFiles
from smallmines.preflight.area import only_aoi, user_aoi
from smallmines.settings.aoi import Aoi, Boundaries
from smallmines.settings.assistant import Assistant
from smallmines.settings.candidates import Candidates
from smallmines.settings.doctor import Doctor
from smallmines.settings.elevation import Elevation
from smallmines.settings.fetch import FETCH
from smallmines.settings.grid import Grid
from smallmines.settings.map import Areas, Change, Polygons, Public
from smallmines.settings.parameters import content, content_digest, parameters
from smallmines.settings.publish import Catalogue, Documents, Page
from smallmines.settings.released import Released, ReleasedSamples
from smallmines.settings.samples import Samples
from smallmines.settings.search import SEARCH, without_unset
from smallmines.settings.segmentation import Segmentation
from smallmines.settings.sentinel1 import Sentinel1
from smallmines.settings.sentinel2 import Sentinel2
from smallmines.settings.splits import Splits
from smallmines.settings.transfer import Transfer

PEOPLE = UserFiles(
    f"resources/user/{cfg.run}",
    cfg.grid.crs,
    tuple(os.path.relpath(path) for path in workflow.overwrite_configfiles),
)
try:
    PEOPLE.require_files(cfg.year_names, cfg.blocks)
except UserError as error:
    sys.exit(str(error))
FROZEN_SPLITS = only_file(f"resources/user/{cfg.run}", "splits", (".csv",))
QUALITY_INPUTS = PEOPLE.quality_inputs(cfg.year_names, cfg.blocks)

# Whether images are segmented and segments labelled; else the masks are those of a release.
SEGMENTED = cfg.labels.source != "released_masks"
if not SEGMENTED:  # decisions about segments are not in such masks
    QUALITY_INPUTS |= {"events": [], "overlap": []}


def nothing_to_annotate(wildcards):
    """End the planning of a target of `annotate` with three lines where the masks are those of a release."""
    refusal = UserError(
        "a run with segments to label (labels.source people or released_samples)",
        f"labels.source released_masks: the masks of run {cfg.run} are those of the release, so there is nothing to annotate",
        "run snakemake masks, or choose another labels.source in the configuration and annotate then",
    )
    sys.exit(str(refusal))


def of_all(path):
    """Return the paths of a product for all years and blocks."""
    return expand(path, year=cfg.year_names, block=cfg.blocks)


def of_segments(path):
    """Return the paths of a product of segments for all years and blocks; none where nothing is segmented."""
    return of_all(path) if SEGMENTED else []


def images_before(wildcards):
    """Return the images of a block in the year before, none in the first year: shifts and duplicates are looked for between both."""
    place = cfg.year_names.index(wildcards.year)
    return [f"<results>/patches/{cfg.year_names[place - 1]}/{wildcards.block}/IMAGE"] if place else []


MEASURED = expand("<results>/measured/{year}/{block}/{kind}.parquet", year=cfg.year_names, block=cfg.blocks, kind=["IMAGE", "MASK"])


def threads_of_block(most):
    """Return the threads of a job of a year and block, at most `most`: cores that are left when all these jobs run side by side.

    OTB merges small segments, and scikit-learn builds small forests, on one core whatever they are given.
    """
    try:
        cores = workflow.cores
    except WorkflowError:  # a dry run, or a cluster
        return most
    return max(1, min(most, cores // (len(cfg.year_names) * len(cfg.blocks))))


def picture(name, label):
    """Return a picture of a year and block as an output of the report, listed under its year and block."""
    return report(
        f"<results>/pictures/{{year}}/{{block}}/{name}.png",
        caption=f"../report/{name}.rst",
        category="Year {year}",
        subcategory="Block {block}",
        labels={"picture": label},
    )


def plot(name, label):
    """Return a plot of the whole run as an output of the report, listed under all years and blocks."""
    return report(
        f"<results>/pictures/{name}.png",
        caption=f"../report/{name.split('_2')[0]}.rst",
        category="All years and blocks",
        labels={"plot": label},
    )


def aoi_file(wildcards):
    """Return the AOI file: downloaded, or given. None or several end the planning with three lines."""
    if cfg.aoi.source == "geoboundaries":
        return ["<automatic>/boundaries.geojson"]
    try:
        return only_aoi(cfg)
    except UserError as error:
        sys.exit(str(error))


# Each file is read once, and not for each job of `fetch`.
@functools.cache
def area_digest():
    """Return what `area` returns."""
    files = [] if cfg.aoi.source == "geoboundaries" else user_aoi(cfg)
    return digest([content(cfg, "aoi"), content_digest(cfg, "grid"), [sha256(path) for path in files], *tiles_digest()])


def area(wildcards):
    """Return a digest of all inputs of the grid. Searches depend on it, so that a change of the grid's code repeats none of them."""
    return area_digest()


@functools.cache
def tiles_digest():
    """Return what `given_tiles` returns."""
    if cfg.grid.source == "released_folder":
        return [images_digest(cfg.grid.folder)]
    return [sha256(cfg.grid.file)] if cfg.grid.source == "file" and os.path.isfile(cfg.grid.file) else []


def given_tiles(wildcards):
    """Return the digest of given tiles: of the file, or of names and places of the released images; an empty list without any."""
    return tiles_digest()


# Section of the configuration by sensor.
SECTIONS = {"s2": cfg.sentinel2, "s1": cfg.sentinel1, "dem": cfg.elevation}


def catalogue_file(wildcards):
    """Return the file of a static catalogue if it exists. A missing file is refused by the rule."""
    section = SECTIONS[wildcards.sensor]
    address = section.address(section.provider)
    return [address] if address and os.path.isfile(address) else []


def archived_manifest(wildcards):
    """Return the frozen manifest that replaces a search, if there is one."""
    return only_file(f"resources/user/{cfg.run}/manifests/{wildcards.year}", wildcards.sensor, (".json",))


MANIFESTS = [*expand("{year}/{sensor}", year=cfg.year_names, sensor=["s2", "s1"]), "static/dem"]


# First and last day of acquisitions by year.
WINDOWS = {str(year): [str(cfg.years[year].start), str(cfg.years[year].end)] for year in sorted(cfg.years)}


def windows_asked(wildcards):
    """Return first and last day of the years to search: one for Sentinel-2, all for Sentinel-1 (they share an orbit), none for elevation."""
    years = {"s2": [wildcards.year], "s1": cfg.year_names, "dem": []}[wildcards.sensor]
    return {year: WINDOWS[year] for year in years}


DATASET_LISTS = expand("<results>/dataset/{year}/{kind}.sha256", year=cfg.year_names, kind=["IMAGE", "MASK"])
DATASET_FILES = expand(
    "<results>/dataset/{name}",
    name=[
        "index.parquet",
        "labels.json",
        "accuracy_points.csv",
        "splits.csv",
        "README.md",
        "DATASHEET.md",
        "LICENSE",
        "croissant.json",
        "facts.json",
        "stac/collection.json",
    ],
)


def drawn_samples(wildcards):
    """Return the samples that are drawn from the released masks; people's own file takes their place."""
    if cfg.labels.source != "released_samples" or PEOPLE.samples(wildcards):
        return []
    return [f"<results>/released/{wildcards.year}/{wildcards.block}/samples.csv"]


# The benchmark: its rows and splits, and what is fitted of them.
try:
    BENCHMARK_ROWS = {(row.name, row.variant): row for row in read_rows(f"{workflow.basedir}/config/benchmark", cfg.benchmark)}
    BENCHMARK_SPLITS = splits_of(cfg.benchmark.splits, cfg.year_names, cfg.blocks, cfg.benchmark.dataset)
except UserError as error:
    sys.exit(str(error))

CPU_ROWS, DEEP_ROWS = (
    "|".join(sorted({row.name for row in BENCHMARK_ROWS.values() if row.deep == deep})) or "none" for deep in (False, True)
)


def fits_of(table):
    """Return the fitted rows of a table, `<row>/<variant>/<split>/<seed>`."""
    return [
        f"{row.name}/{row.variant}/{split}/{seed}"
        for row in BENCHMARK_ROWS.values()
        if not row.deep or table == "table_deep"
        for split in BENCHMARK_SPLITS
        for seed in (cfg.benchmark.seeds if row.seeded else cfg.benchmark.seeds[:1])
    ]


OWN_DATASET = cfg.benchmark.dataset is None
PACK = [f"<results>/benchmark/pack/{name}" for name in ("s2.npy", "s1.npy", "dem.npy", "mask.npy", "tiles.parquet", "pack.json")]


def row_of(wildcards):
    """Return the row and variant of a job."""
    return BENCHMARK_ROWS[wildcards.row, wildcards.variant]


def memory_of(wildcards):
    """Return the memory of a job of a row in MB."""
    return row_of(wildcards).memory_mb


def threads_of(wildcards):
    """Return the threads of a job of a row."""
    return row_of(wildcards).threads


def minutes_of(wildcards):
    """Return the run time of a job of a row in minutes."""
    return row_of(wildcards).minutes


def findings_file():
    """Return the report of the doctor: that of the run, or the one given with another dataset."""
    return "<results>/doctor.json" if OWN_DATASET else ([cfg.benchmark.doctor] if cfg.benchmark.doctor else [])


# Pairs of years, each with the next one.
PAIRS = list(zip(cfg.year_names, cfg.year_names[1:]))


def of_pair(path):
    """Return a function that gives the paths of a product for all blocks of both years of a pair."""
    return lambda wildcards: expand(path, year=[wildcards.first, wildcards.last], block=cfg.blocks)


def change_sample(kind, name="references"):
    """Return a function that lists the files of the change sample of a pair."""
    return lambda wildcards: PEOPLE.change_sample(wildcards.last, cfg.blocks, kind)[name]


def change_designs(wildcards):
    """Return the designs of the change sample of a pair."""
    return [path for kind in ("change_before", "change_after") for path in change_sample(kind, "design")(wildcards)]


def changes(wildcards):
    """Return the changes of all pairs of years; a run of one year ends the planning with three lines."""
    if not PAIRS:
        refusal = UserError(
            "two years or more for change", f"{', '.join(cfg.year_names)} in run {cfg.run}", "add a year to the configuration"
        )
        sys.exit(str(refusal))
    return [f"results/{cfg.run}/map/change/{first}_{last}/{name}" for first, last in PAIRS for name in ("pairs.parquet", "areas.csv")]


def model_of_the_map(name):
    """Return a function that gives the path of a product of the model that `map.model` names; none ends the planning with three lines."""

    def path(wildcards):
        if cfg.map.model in fits_of("table_deep"):
            return f"results/{cfg.run}/benchmark/{cfg.map.model}/{name}"
        expected = "map.model: a fitted row of the benchmark, <row>/<variant>/<split>/<seed>"
        refusal = UserError(expected, str(cfg.map.model), f"name one of {', '.join(fits_of('table_deep')[:4])}, …")
        sys.exit(str(refusal))

    return path
