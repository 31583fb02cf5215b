"""Check what a dry run cannot: the area of interest, the CRS of its grid, values of another run, catalogues and accounts.

The Snakefile imports this module at every planning, so imports that take long are inside functions.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from smallmines.config.parse import read_config
from smallmines.config.sections import Config
from smallmines.core.crs import DEGREES, transformer
from smallmines.core.errors import UserError
from smallmines.grid.area import Area, Remark, read_area
from smallmines.grid.make import check_size, polygon, tiles_of
from smallmines.grid.projection import anchor_remarks, crs_remarks
from smallmines.preflight.area import user_aoi
from smallmines.preflight.new_region import countries
from smallmines.preflight.release import check_release
from smallmines.settings.grid import Grid
from smallmines.settings.parameters import settings_of

if TYPE_CHECKING:
    from smallmines.archive.providers import Provider

REFERENCE = "config/config.yaml"
"""The configuration that new ones are often copied from."""

ELSEWHERE_KM = 100
"""Distance from the reference's anchor from which an area is another one; the reference's own is 70 km wide at most."""

ANOTHER_COUNTRY_KM = 700
"""Distance from the reference's anchor from which no place is in the reference's country."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with a configuration. An error stops a run, a warning does not."""

    severity: Literal["error", "warning"]
    expected: str
    found: str
    do: str

    def __str__(self) -> str:
        """Return four lines: severity, expected, found, do."""
        return f"{self.severity}\nexpected  {self.expected}\nfound     {self.found}\ndo        {self.do}"


def check_before_run(config: Config, rules: Collection[str]) -> None:
    """Check what the planned rules need: print warnings on stderr, exit with status 1 and the errors if there are any."""
    findings: list[Finding] = []
    if "grid" in rules:
        findings += check_area(config)
    if "search" in rules or "fetch" in rules:
        findings += check_archives(config)
    findings += map(_as_finding, check_release(config, rules))
    for finding in findings:
        print(finding, file=sys.stderr)
    if any(finding.severity == "error" for finding in findings):
        sys.exit("the configuration has errors: nothing was run")


def check_area(config: Config) -> list[Finding]:
    """Check area of interest, CRS, anchor, number of tiles and values of another run.

    Before boundaries of geoBoundaries are downloaded, only CRS and anchor are checked. Tiles from released images are read by the rule
    `grid` alone, since there are thousands of files.
    """
    user_folder = f"resources/user/{config.run}"
    grid = settings_of(config.grid, Grid)
    try:
        files = user_aoi(config)
        if config.aoi.source == "geoboundaries":
            downloaded = boundaries_file(config)
            if not downloaded.is_file():
                crs_remarks(grid.crs, None)
                return [_as_warning(remark) for remark in _own_anchor(grid, None)]
            files = [str(downloaded)]
        area = read_area(files, config.aoi.path, user_folder)
    except UserError as error:
        return [_as_finding(error)]
    findings = [
        *map(_as_warning, area.remarks),
        *_check_country(config.country),
        *check_crs(grid.crs, area),
        *check_left_overs(config, area),
    ]
    if all(finding.severity != "error" for finding in findings):
        try:
            findings += map(_as_warning, _own_anchor(grid, polygon(area.table, grid.crs).bounds))
            check_size(area, grid.crs, config.aoi.expected_area_km2)
            if grid.source != "released_folder":
                tiles_of(area, grid)
        except UserError as error:
            findings.append(_as_finding(error))
    return findings


def _own_anchor(grid: Grid, bounds: tuple[float, float, float, float] | None) -> list[Remark]:
    """Check the configured anchor; released images bring one of their own."""
    return [] if grid.source == "released_folder" else list(anchor_remarks(grid.anchor, bounds))


def boundaries_file(config: Config) -> Path:
    """Return the place of downloaded boundaries, which may not exist yet."""
    return Path(f"resources/automatic/{config.run}/boundaries.geojson")


def _as_finding(error: UserError) -> Finding:
    return Finding("error", error.expected, error.found, error.do)


def _check_country(code: str) -> Iterator[Finding]:
    """Check that a country's code exists; it is in the names of all files."""
    if code not in countries():
        yield Finding("warning", "an ISO 3166-1 alpha-2 code in country", code, "correct it before anything is published")


def _as_warning(remark: Remark) -> Finding:
    return Finding("warning", *remark)


def check_crs(code: str, area: Area | None) -> list[Finding]:
    """Check the CRS of the grid, see `crs_remarks`."""
    try:
        return [_as_warning(remark) for remark in crs_remarks(code, area)]
    except UserError as error:
        return [_as_finding(error)]


def check_left_overs(config: Config, area: Area) -> Iterator[Finding]:
    """Look for values of `REFERENCE` in the configuration of another area.

    Values that would be published and stand in the file are an error. The anchor, the expected number of tiles, defaults, and a country
    by itself are a warning.
    """
    reference = _reference()
    if reference is None or reference.run == config.run:
        return
    distance = _km_from_anchor(reference, area)
    wrong: list[str] = []
    doubtful: list[str] = []
    for path, value in _values_of_an_area(config).items():
        limit = ANOTHER_COUNTRY_KM if path == "country" else ELSEWHERE_KM
        if distance > limit and value and value == _values_of_an_area(reference)[path]:
            harmless = path in ("grid.anchor", "grid.expected_tiles") or (path == "country" and "country" not in config.model_fields_set)
            (doubtful if harmless else wrong).append(f"{path}: {value}")
    if len(wrong) == 1 and wrong[0].startswith("country: "):  # by itself it may be right: the reference of a large country
        doubtful, wrong = [*wrong, *doubtful], []
    severities: tuple[tuple[Literal["error", "warning"], list[str]], ...] = (("error", wrong), ("warning", doubtful))
    for severity, values in severities:
        if values:
            yield Finding(
                severity,
                "values of this area",
                f"{'; '.join(values)}, as in {REFERENCE}, whose area is {distance:.0f} km away",
                "set these keys to values of this area or remove them (`smallmines config new` writes a file without them)",
            )


def _reference() -> Config | None:
    path = Path(REFERENCE)
    try:
        return read_config(path) if path.is_file() else None
    except UserError:
        return None


def _values_of_an_area(config: Config) -> dict[str, Any]:
    return {
        "country": config.country,
        "aoi.expected_area_km2": config.aoi.expected_area_km2,
        "grid.anchor": f"{{x: {config.grid.anchor.x:g}, y: {config.grid.anchor.y:g}}}",
        "grid.expected_tiles": config.grid.expected_tiles,
        "grid.released_ids_up_to": config.grid.released_ids_up_to,
        "publish.title": config.publish.title,
        "publish.description": config.publish.description,
    }


def _km_from_anchor(reference: Config, area: Area) -> float:
    from pyproj import Geod

    anchor = reference.grid.anchor
    to_degrees = transformer(reference.grid.crs, DEGREES)
    return float(Geod(ellps="WGS84").inv(*to_degrees.transform(anchor.x, anchor.y), *area.centre)[2]) / 1000


def check_archives(config: Config) -> list[Finding]:
    """Check catalogue files of static providers, and accounts of all providers and fallbacks.

    What a fallback lacks is a warning, and so is a missing account: pixels that are fetched already need none.
    """
    from smallmines.archive.providers import provider_of

    findings: list[Finding] = []
    for sensor, name in {"s2": "sentinel2", "s1": "sentinel1", "dem": "elevation"}.items():
        section = getattr(config, name)
        for number, choice in enumerate(dict.fromkeys([section.provider, *section.fallbacks])):
            provider = provider_of(sensor, choice)
            if provider.access == "static":
                findings += _check_catalogue(config, sensor, name, section.address(choice), is_fallback=number > 0)
            else:
                findings += _check_account(name, provider)
    return findings


def _check_catalogue(config: Config, sensor: str, section: str, address: str | None, is_fallback: bool) -> Iterator[Finding]:
    years = ["static"] if sensor == "dem" else config.year_names
    frozen = all(Path(f"resources/user/{config.run}/manifests/{year}/{sensor}.json").is_file() for year in years)
    if not frozen and not (address and ("://" in address or Path(address).is_file())):
        yield Finding(
            "warning" if is_fallback else "error",
            f"the catalogue of the provider static, catalog.json, in {section}.catalogue",
            f"{address}: no such file" if address else "no address",
            "name an existing catalog.json, or choose another provider",
        )


def _check_account(section: str, provider: Provider) -> Iterator[Finding]:
    from smallmines.preflight.accounts import missing_account

    if missing := missing_account(provider):
        yield Finding("warning", f"an account for {provider.name} ({section})", missing, provider.account)
