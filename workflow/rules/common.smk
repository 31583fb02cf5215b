# Functions for the other files of this folder.
from smallmines.labels.user_files import UserFiles
from smallmines.labels.samples import events_digest
from smallmines.settings.parameters import content, content_digest, parameters
from smallmines.core.files import digest, sha256
from smallmines.core.patch_files import images_digest
from smallmines.settings.aoi import Aoi, Boundaries
from smallmines.settings.assistant import Assistant
from smallmines.settings.candidates import Candidates
from smallmines.settings.doctor import Doctor
from smallmines.settings.elevation import Elevation
from smallmines.settings.fetch import FETCH
from smallmines.settings.grid import Grid
from smallmines.settings.publish import Catalogue, Documents, Page
from smallmines.settings.samples import Samples
from smallmines.settings.search import SEARCH
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
FROZEN_SPLITS = only_file(f"resources/user/{cfg.run}", "splits", (".csv",))
OPINIONS = PEOPLE.opinions(cfg.year_names, cfg.blocks)


def of_all(path):
    """A product of every year and block, years first."""
    return expand(path, year=cfg.year_names, block=cfg.blocks)


def picture(name, label):
    """A picture of a year and block, in the report under its year and block."""
    return report(
        f"<results>/pictures/{{year}}/{{block}}/{name}.png",
        caption=f"../report/{name}.rst",
        category="Year {year}",
        subcategory="Block {block}",
        labels={"picture": label},
    )


def plot(name, label):
    """A plot of the whole run, in the report under its own heading."""
    return report(
        f"<results>/pictures/{name}.png",
        caption=f"../report/{name.split('_2')[0]}.rst",
        category="All years and blocks",
        labels={"plot": label},
    )


def aoi_file(wildcards):
    """The AOI that people give, or the downloaded one."""
    return ["<automatic>/boundaries.geojson"] if cfg.aoi.source == "geoboundaries" else user_aoi(cfg)


def area(wildcards):
    """Digest of all that the grid is made from. Archives are asked again when it changes, not when the grid's code does."""
    files = [] if cfg.aoi.source == "geoboundaries" else user_aoi(cfg)
    return digest([content(cfg, "aoi"), content_digest(cfg, "grid"), [sha256(path) for path in files], *given_tiles(wildcards)])


def given_tiles(wildcards):
    """Digest of the tiles that people give: of the fishnet file, or of names and places of the released images; empty without any."""
    if cfg.grid.source == "released_folder":
        return [images_digest(cfg.grid.folder)]
    return [sha256(cfg.grid.file)] if cfg.grid.source == "file" and os.path.isfile(cfg.grid.file) else []


# The section of the configuration of each sensor.
SECTIONS = {"s2": cfg.sentinel2, "s1": cfg.sentinel1, "dem": cfg.elevation}


def catalogue_file(wildcards):
    """The static catalogue where it exists; where it does not, the script says so."""
    section = SECTIONS[wildcards.sensor]
    address = section.address(section.provider)
    return [address] if address and os.path.isfile(address) else []


def archived_manifest(wildcards):
    """The manifest that people keep in place of a search, where there is one."""
    return only_file(f"resources/user/{cfg.run}/manifests/{wildcards.year}", wildcards.sensor, (".json",))


MANIFESTS = [*expand("{year}/{sensor}", year=cfg.year_names, sensor=["s2", "s1"]), "static/dem"]


def windows_asked(wildcards):
    """First and last day by year: this year's; all years' for Sentinel-1, whose orbit is one for all; none for elevation."""
    asked = {"s2": [wildcards.year], "s1": cfg.year_names, "dem": []}[wildcards.sensor]
    return {name: [str(cfg.years[int(name)].start), str(cfg.years[int(name)].end)] for name in asked}


# First and last day of each year's acquisitions, for the documents.
WINDOWS = {name: [str(cfg.years[int(name)].start), str(cfg.years[int(name)].end)] for name in cfg.year_names}
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
