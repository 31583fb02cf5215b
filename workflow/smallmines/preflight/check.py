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
from smallmines.core.errors import UserError
from smallmines.grid.aoi import read_aoi
from smallmines.preflight.area import Area, read_area, user_aoi
from smallmines.preflight.utm import HALF_ZONE, LATTICE_M, Zone, on_lattice, zone_at, zone_of
from smallmines.settings.aoi import Aoi
from smallmines.settings.parameters import settings_of

if TYPE_CHECKING:
    from pyproj import CRS

    from smallmines.archive.providers import Provider

REFERENCE = "config/config.yaml"
"""The configuration that new ones are often copied from."""

FARTHEST_FROM_MERIDIAN = 6
"""Degrees from the central meridian of a UTM zone. There, at the equator, 10 m of the grid are 9.95 m on the ground."""

NEAR_EQUATOR = 1
"""Degrees. An area that comes so near to the equator may use the zone of the other hemisphere."""

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
    for finding in findings:
        print(finding, file=sys.stderr)
    if any(finding.severity == "error" for finding in findings):
        sys.exit("the configuration has errors: nothing was run")


def check_area(config: Config) -> list[Finding]:
    """Check area of interest, CRS, anchor and values of another run.

    Before boundaries of geoBoundaries are downloaded, only CRS and anchor are checked.
    """
    user_folder = f"resources/user/{config.run}"
    files = user_aoi(config)
    if config.aoi.source == "geoboundaries":
        downloaded = boundaries_file(config)
        if not downloaded.is_file():
            return [*check_crs(config.grid.crs, None), *check_anchor(config)]
        files = [str(downloaded)]
    try:
        area = read_area(files, config.aoi.path, user_folder)
    except UserError as error:
        return [_as_finding(error)]
    findings = [*check_crs(config.grid.crs, area), *check_anchor(config), *check_left_overs(config, area)]
    if all(finding.severity != "error" for finding in findings):
        try:
            read_aoi(files, settings_of(config.aoi, Aoi), config.grid.crs, user_folder)
        except UserError as error:
            findings.append(_as_finding(error))
    return findings


def boundaries_file(config: Config) -> Path:
    """Return the place of downloaded boundaries, which may not exist yet."""
    return Path(f"resources/automatic/{config.run}/boundaries.geojson")


def _as_finding(error: UserError) -> Finding:
    return Finding("error", error.expected, error.found, error.do)


def check_crs(code: str, area: Area | None) -> Iterator[Finding]:
    """Check that a CRS is projected, in metres, and the UTM zone of an area or another CRS made for it."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    right = zone_at(*area.centre) if area else None
    do = f"set grid.crs: {right.epsg}, the UTM zone {right} of the area" if right else "set grid.crs to the UTM zone of the area"
    try:
        crs = CRS.from_user_input(code)
    except CRSError:
        yield Finding("error", "a CRS in grid.crs, e.g. EPSG:32630", code, do)
        return
    if not crs.is_projected or any(axis.unit_conversion_factor != 1 for axis in crs.axis_info):
        yield Finding("error", "a projected CRS with axes in metres in grid.crs", f"{code}, {crs.name}", do)
    elif area and right and (zone := zone_of(crs)):
        yield from _check_zone(zone, right, area)
    elif area:
        yield _other_crs(crs, area, code, do)


def _other_crs(crs: CRS, area: Area, code: str, do: str) -> Finding:
    longitude, latitude = area.centre
    use = crs.area_of_use
    if use and not (use.west <= longitude <= use.east and use.south <= latitude <= use.north):
        return Finding("error", f"an area within {use.name}, for which grid.crs {code} is made", f"an area around {_place(area)}", do)
    return Finding(
        "warning",
        "a UTM zone on WGS 84 in grid.crs, whose pixels are those of Sentinel-2",
        f"{code}, {crs.name}: all pixels are resampled",
        f"{do}, unless you need {code}",
    )


def _check_zone(zone: Zone, right: Zone, area: Area) -> Iterator[Finding]:
    reach = max(abs((longitude - zone.meridian + 180) % 360 - 180) for longitude in (area.west, area.east))
    across = area.south - NEAR_EQUATOR <= 0 <= area.north + NEAR_EQUATOR
    found = f"grid.crs {zone.epsg}, zone {zone}; the area lies around {_place(area)}, up to {reach:.1f}° from the zone's central meridian"
    if zone != right:
        wrong = reach > FARTHEST_FROM_MERIDIAN or (zone.south != right.south and not across)
        keep = "" if wrong else "; near a border of zones the other one does as well, with more pixels resampled"
        yield Finding("error" if wrong else "warning", f"the UTM zone of the area, {right}", found, f"set grid.crs: {right.epsg}{keep}")
    elif reach > FARTHEST_FROM_MERIDIAN:
        expected = f"an area within {FARTHEST_FROM_MERIDIAN}° of the central meridian of its UTM zone {zone}"
        yield Finding("error", expected, found, "divide the area into several runs, one for each UTM zone")
    elif reach > HALF_ZONE:
        yield Finding(
            "warning",
            f"an area within its UTM zone {zone}",
            found,
            "keep it if Sentinel-2 tiles of the neighbouring zone may be resampled, or divide the area at the border of the zones",
        )


def _place(area: Area) -> str:
    longitude, latitude = area.centre
    return f"{abs(latitude):.2f}° {'S' if latitude < 0 else 'N'}, {abs(longitude):.2f}° {'W' if longitude < 0 else 'E'}"


def check_anchor(config: Config) -> Iterator[Finding]:
    """Check that tiles lie on the 20 m lattice of Sentinel-2. Released images bring an anchor of their own."""
    x, y = config.grid.anchor.x, config.grid.anchor.y
    if config.grid.source != "released_folder" and (x % LATTICE_M or y % LATTICE_M):
        near_x, near_y = on_lattice(x, y)
        yield Finding(
            "warning",
            f"grid.anchor at multiples of {LATTICE_M} m, so that Sentinel-2 pixels are copied",
            f"x: {x:g}, y: {y:g}; pixels are resampled",
            f"set grid.anchor: {{x: {near_x}, y: {near_y}}}",
        )


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
    from pyproj import Geod, Transformer

    anchor = reference.grid.anchor
    to_degrees = Transformer.from_crs(reference.grid.crs, "EPSG:4326", always_xy=True)
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
