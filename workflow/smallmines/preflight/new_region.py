"""Write the configuration of a new region from its area of interest."""

from __future__ import annotations

import difflib
import json
import math
import re
import shlex
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

import yaml

from smallmines.config.parse import parse_config
from smallmines.config.yaml_file import plain
from smallmines.core.errors import UserError
from smallmines.core.files import written
from smallmines.grid.area import Area, read_area
from smallmines.grid.make import polygon, tiles_of
from smallmines.grid.projection import crs_remarks
from smallmines.grid.utm import on_lattice, zone_at
from smallmines.preflight.area import AOI_SUFFIXES
from smallmines.settings.grid import Grid
from smallmines.settings.parameters import settings_of

TEMPLATE = Path(__file__).with_name("templates") / "region.yaml"
TILE_KM2 = 1.28**2
"""Size of a tile of 128 pixels of 10 m."""

TILES_PER_BLOCK = 600
"""Tiles of a block, about as many as the blocks of SmallMinesDS have."""

SHAPEFILE = (".shp", ".shx", ".dbf", ".prj", ".cpg")
"""Suffixes of the files of a Shapefile."""

COUNTRY_COLUMNS = frozenset({"iso_a2", "iso2", "country_code", "shapeiso", "iso_3166_1", "iso_3166_2"})
"""Attributes, in lower case, that hold ISO 3166-1 alpha-2 codes, or ISO 3166-2 codes that begin with them."""


@dataclass(frozen=True)
class Region:
    """A region whose configuration is written.

    Attributes:
        run: name of the run.
        aoi: file of the area of interest.
        country: ISO 3166-1 alpha-2 code; empty: taken from the attributes of the area.
        years: epochs.
    """

    run: str
    aoi: Path
    country: str
    years: tuple[int, ...]


def write_config(region: Region, target: Path) -> Area:
    """Write the configuration of a region and return its area.

    Raises:
        UserError: `target` exists, the area cannot be read, is too large for one run, the country is not known, or a value is refused.
    """
    if target.exists():
        raise UserError(f"no file {target}", "it exists", "choose another name or another --out; files are never overwritten")
    parse_config({"run": region.run, "years": {2016: {"start": "2016-01-01", "end": "2016-01-31"}}})  # names the key of a wrong name
    area = read_area([str(region.aoi)] if region.aoi.is_file() else [], str(region.aoi), f"resources/user/{region.run}")
    text = config_text(region, area, target)
    grid = settings_of(parse_config(yaml.safe_load(text)).grid, Grid)
    crs_remarks(grid.crs, area)
    tiles_of(area, grid)
    with written(target) as beside:
        beside.write_text(text, encoding="utf-8")
    return area


def config_text(region: Region, area: Area, target: Path) -> str:
    """Return the configuration as commented YAML.

    The CRS is the UTM zone of the centroid. The anchor is the corner of the Sentinel-2 lattice at or next to the north-west of the area.

    Raises:
        UserError: the country is not known.
    """
    zone = zone_at(*area.centre)
    west, _, _, north = polygon(area.table, zone.epsg).bounds
    x, y = on_lattice(west, north)
    tiles = math.ceil(area.km2 / TILE_KM2)
    month = 7 if zone.south else 1
    years = [f"  {year}: {{start: {year}-{month:02d}-01, end: {year}-{month:02d}-31}}" for year in sorted(region.years)]
    title = f"Mines of {re.sub('[-_]+', ' ', region.run).title()}, {', '.join(str(year) for year in sorted(region.years))}"
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=title,
        quoted_title=json.dumps(title, ensure_ascii=False),
        path=plain(str(target)),
        run=json.dumps(region.run, ensure_ascii=False),
        country=json.dumps(known_country(region.country) if region.country else country_of(area)),
        km2=f"{area.km2:.1f}",
        aoi_path="" if is_copied(region.aoi) else f"\n  path: {json.dumps(str(region.aoi), ensure_ascii=False)}",
        zone=zone,
        crs=zone.epsg,
        x=x,
        y=y,
        tiles=tiles,
        blocks=min(9999, max(1, round(tiles / TILES_PER_BLOCK))),
        hemisphere="southern" if zone.south else "northern",
        years="\n".join(years),
    )


def country_of(area: Area) -> str:
    """Return the code of the country that the attributes of an area name.

    Raises:
        UserError: they name none or several.
    """
    columns = [column for column in area.table.columns if column.lower() in COUNTRY_COLUMNS]
    values = {str(value)[:2] for column in columns for value in area.table[column] if re.fullmatch(r"[A-Z]{2}(-.*)?", str(value))}
    if len(values) != 1:
        found = f"{', '.join(sorted(values)) or 'none'} among the attributes of the area"
        raise UserError("the country of the area, an ISO 3166-1 alpha-2 code", found, "name it, e.g. --country PE")
    return known_country(values.pop())


def known_country(code: str) -> str:
    """Return a code of ISO 3166-1 alpha-2.

    Raises:
        UserError: it is none; names the nearest country where a name was given.
    """
    names = countries()
    if code in names:
        return code
    by_name = {name.lower(): other for other, name in names.items()}
    near = difflib.get_close_matches(code.lower(), by_name, n=1)
    advice = f"--country {by_name[near[0]]} is {names[by_name[near[0]]]}" if near else "name it, e.g. --country PE"
    raise UserError("the country of the area, an ISO 3166-1 alpha-2 code", plain(code, 60), advice)


def countries() -> dict[str, str]:
    """Return the names of countries by code: ISO 3166-1, from the time zone database (a package that pandas needs), and XK for Kosovo."""
    table = (files("tzdata.zoneinfo") / "iso3166.tab").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.splitlines() if line and not line.startswith("#")]
    return {**dict(rows), "XK": "Kosovo"}


def is_copied(aoi: Path) -> bool:
    """Whether an AOI file can stand as `resources/user/<run>/aoi.*`; other formats are named by `aoi.path`."""
    return aoi.suffix.lower() in AOI_SUFFIXES


def copy_commands(region: Region) -> list[str]:
    """Return the shell commands that copy the AOI to its place. A Shapefile is copied with its other files."""
    if not is_copied(region.aoi):
        return []
    folder = f"resources/user/{region.run}"
    copied = [region.aoi]
    if region.aoi.suffix.lower() == ".shp":
        copied = sorted(path for path in region.aoi.parent.glob(f"{region.aoi.stem}.*") if path.suffix.lower() in SHAPEFILE)
    return [f"mkdir -p {folder}", *(f"cp {shlex.quote(str(path))} {folder}/aoi{path.suffix.lower()}" for path in copied)]
