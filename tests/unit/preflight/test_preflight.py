"""A new region's configuration, and the checks before a run, with areas at real places."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
import yaml
from pyproj import CRS, Transformer

from smallmines.archive.providers import provider_of
from smallmines.config.parse import parse_config, read_config
from smallmines.config.sections import Config
from smallmines.core.errors import UserError
from smallmines.grid.area import Area, read_area
from smallmines.grid.utm import on_lattice, zone_at
from smallmines.preflight.accounts import missing_account
from smallmines.preflight.area import only_aoi, user_aoi
from smallmines.preflight.check import Finding, check_archives, check_area, check_before_run, check_crs
from smallmines.preflight.new_region import Region, copy_commands, countries, write_config

PLACES = {
    "Amansie West, Ghana": (-1.97, 6.17, "30N"),
    "La Pampa, Madre de Dios, Peru": (-69.95, -12.95, "19S"),
    "west of Madre de Dios, Peru": (-72.2, -12.6, "18S"),
    "Geita, Tanzania": (32.17, -2.87, "36S"),
    "Mongbwalu, Ituri, DR Congo": (30.03, 1.95, "36N"),
    "west of Ituri, DR Congo": (29.6, 1.7, "35N"),
    "on the equator, Uganda": (33.0, 0.0, "36N"),
    "Guainía, Colombia": (-68.5, 2.7, "19N"),
}

NEAR = {"x": 386000, "y": 8580000}
"""Corner of the lattice near La Pampa, in zone 19S."""


def write_area(path: Path, longitude: float, latitude: float, half: float = 0.1, crs: str = "EPSG:4326", **columns: Any) -> Path:
    """Write a square of twice `half` degrees around a place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    square = shapely.box(longitude - half, latitude - half, longitude + half, latitude + half)
    gpd.GeoDataFrame({key: [value] for key, value in columns.items()}, geometry=[square], crs="EPSG:4326").to_crs(crs).to_file(path)
    return path


def area_at(folder: Path, longitude: float, latitude: float, half: float = 0.1) -> Area:
    path = write_area(folder / "area.gpkg", longitude, latitude, half)
    return read_area([str(path)], None, "")


@pytest.fixture
def folder(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with the shipped configurations and a home without credentials."""
    shutil.copytree(repository / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SHARED_CREDENTIALS_FILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def config_of(changes: dict[str, Any] | None = None, **grid: Any) -> Config:
    years = {2023: {"start": "2023-01-01", "end": "2023-01-31"}}
    return parse_config({"run": "mine", "country": "PE", "years": years, "grid": grid} | (changes or {}))


def errors(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]


# --- zones -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_zone_of_a_real_place_is_the_one_of_proj(place: str) -> None:
    from pyproj.aoi import AreaOfInterest
    from pyproj.database import query_utm_crs_info

    longitude, latitude, name = PLACES[place]
    zone = zone_at(longitude, latitude)
    assert str(zone) == name
    here = AreaOfInterest(longitude, latitude + 1e-6, longitude, latitude + 1e-6)
    assert zone.epsg in {f"EPSG:{info.code}" for info in query_utm_crs_info("WGS 84", here)}


@pytest.mark.parametrize(
    ("longitude", "number"), [(-180, 1), (-174, 2), (-72.0001, 18), (-72, 19), (0, 31), (30, 36), (179.9, 60), (180, 1)]
)
def test_zones_begin_at_their_western_meridian(longitude: float, number: int) -> None:
    assert zone_at(longitude, 5).number == number


def test_the_lattice_corner_is_north_west_of_a_point() -> None:
    assert on_lattice(586619.9, 729620.1) == (586600, 729640)
    assert on_lattice(586600, 729640) == (586600, 729640)
    assert on_lattice(-0.1, -0.1) == (-20, 0)


# --- check: CRS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_the_zone_of_the_area_is_right(folder: Path, place: str) -> None:
    longitude, latitude, _ = PLACES[place]
    area = area_at(folder, longitude, latitude, half=0.02)
    assert list(check_crs(zone_at(longitude, latitude + 1e-6).epsg, area)) == []


@pytest.mark.parametrize(
    ("place", "crs", "severity", "words"),
    [
        ("La Pampa, Madre de Dios, Peru", "EPSG:32630", "error", "set grid.crs: EPSG:32719"),
        ("La Pampa, Madre de Dios, Peru", "EPSG:32718", "warning", "set grid.crs: EPSG:32719; near a border"),
        ("La Pampa, Madre de Dios, Peru", "EPSG:32619", "error", "set grid.crs: EPSG:32719"),
        ("west of Madre de Dios, Peru", "EPSG:32719", "warning", "set grid.crs: EPSG:32718; near a border"),
        ("Geita, Tanzania", "EPSG:32636", "error", "set grid.crs: EPSG:32736"),
        ("Geita, Tanzania", "EPSG:32735", "warning", "set grid.crs: EPSG:32736; near a border"),
        ("Mongbwalu, Ituri, DR Congo", "EPSG:32635", "warning", "set grid.crs: EPSG:32636; near a border"),
        ("Mongbwalu, Ituri, DR Congo", "EPSG:32634", "error", "set grid.crs: EPSG:32636"),
        ("on the equator, Uganda", "EPSG:32736", "warning", "set grid.crs: EPSG:32636; near a border"),
        ("Amansie West, Ghana", "EPSG:4326", "error", "set grid.crs: EPSG:32630, the UTM zone 30N of the area"),
        ("Amansie West, Ghana", "EPSG:2136", "error", "set grid.crs: EPSG:32630"),  # Gold Coast feet
        ("Amansie West, Ghana", "EPSG:25000", "warning", "unless you need EPSG:25000"),  # Ghana Metre Grid
        ("Geita, Tanzania", "EPSG:25000", "error", "set grid.crs: EPSG:32736"),
        ("Amansie West, Ghana", "utm", "error", "set grid.crs: EPSG:32630"),
    ],
)
def test_another_crs_is_found(folder: Path, place: str, crs: str, severity: str, words: str) -> None:
    longitude, latitude, _ = PLACES[place]
    (finding,) = check_crs(crs, area_at(folder, longitude, latitude + 1e-4, half=0.01))
    assert finding.severity == severity
    assert words in finding.do
    assert str(finding).splitlines()[0] == severity


@pytest.mark.parametrize("form", ["proj", "wkt", "older wkt", "lower case"])
def test_a_crs_in_other_words_is_refused_with_its_code(folder: Path, form: str) -> None:
    """Only a code is kept by the catalogue; headers of images write the unit of older WKT in capitals."""
    crs, (longitude, latitude, _) = CRS("EPSG:32736"), PLACES["Geita, Tanzania"]
    older = crs.to_wkt("WKT1_GDAL").replace('"metre"', '"METRE"')
    texts = {"wkt": crs.to_wkt(), "older wkt": older, "lower case": "epsg:32736", "proj": "+proj=utm +zone=36 +south +datum=WGS84 +units=m"}
    (finding,) = check_crs(texts[form], area_at(folder, longitude, latitude, half=0.02))
    assert finding.severity == "error"
    assert finding.do.startswith("set grid.crs: EPSG:32736, ")


def test_an_area_across_a_border_of_zones(folder: Path) -> None:
    (finding,) = check_crs("EPSG:32635", area_at(folder, 29.9, 1.7, half=0.3))
    assert (finding.severity, finding.expected) == ("warning", "an area within its UTM zone 35N")
    (finding,) = check_crs("EPSG:32635", area_at(folder, 27, 1.7, half=7))
    assert finding.severity == "warning", "7° from the meridian lengths are wrong by 0.7 %"
    (finding,) = check_crs("EPSG:32635", area_at(folder, 27, 1.7, half=9))
    assert finding.severity == "error"
    assert finding.do == "divide the area into several runs, one for each UTM zone; it is 18° wide"


# --- check: area, anchor, left-overs -----------------------------------------------------------------------------------------


def test_one_readable_area_is_wanted(folder: Path) -> None:
    config = config_of(crs="EPSG:32719", anchor=NEAR)
    (finding,) = check_area(config)
    assert (finding.severity, finding.found) == ("error", "none")
    write_area(folder / "resources/user/mine/aoi.gpkg", -69.95, -12.95)
    assert check_area(config) == []
    write_area(folder / "resources/user/mine/aoi.geojson", -69.95, -12.95)
    (finding,) = check_area(config)
    assert finding.found == "resources/user/mine/aoi.geojson, resources/user/mine/aoi.gpkg"
    (folder / "resources/user/mine/aoi.geojson").unlink()
    (folder / "resources/user/mine/aoi.gpkg").write_bytes(b"no GeoPackage")
    (finding,) = check_area(config)
    assert "GDAL can read" in finding.expected


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ((179.9, -17, 180.1, -16.9), "one side of 180°"),
        ((10, 83.9, 10.1, 84.1), "between 80° S and 84° N"),
        ((10, -80.3, 10.1, -80.2), "between 80° S and 84° N"),
    ],
)
def test_areas_where_no_zone_is_right(folder: Path, bounds: tuple[float, float, float, float], words: str) -> None:
    file = folder / "edge.geojson"
    gpd.GeoDataFrame(geometry=[shapely.box(*bounds)], crs="EPSG:4326").to_file(file)
    with pytest.raises(UserError, match=words):
        read_area([str(file)], None, "resources/user/x")


def test_an_area_in_two_parts_across_180_degrees(folder: Path) -> None:
    file = folder / "edge.geojson"
    parts = [shapely.box(179.9, -17, 180, -16.9), shapely.box(-180, -17, -179.9, -16.9)]
    gpd.GeoDataFrame(geometry=parts, crs="EPSG:4326").to_file(file)
    with pytest.raises(UserError, match="one side of 180°"):
        read_area([str(file)], None, "resources/user/x")


def test_a_file_of_several_layers_or_of_none(folder: Path) -> None:
    file = folder / "layers.gpkg"
    square = gpd.GeoDataFrame(geometry=[shapely.box(-2, 6, -1.9, 6.1)], crs="EPSG:4326")
    square.to_file(file, layer="a")
    square.to_file(file, layer="b")
    with pytest.raises(UserError, match="one layer with polygons") as caught:
        read_area([str(file)], None, "resources/user/x")
    assert caught.value.found == "a, b"
    table = folder / "table.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="one layer with polygons"):
        read_area([str(table)], None, "resources/user/x")


def test_an_area_without_crs_or_polygons(folder: Path) -> None:
    config = config_of(crs="EPSG:32719", anchor=NEAR)
    path = folder / "resources/user/mine/aoi.gpkg"
    path.parent.mkdir(parents=True)
    gpd.GeoDataFrame(geometry=[shapely.box(350000, 8560000, 360000, 8570000)]).to_file(path)
    (finding,) = check_area(config)
    assert finding.expected == "an AOI with a CRS"
    path.unlink()
    gpd.GeoDataFrame(geometry=[shapely.Point(-69.95, -12.95)], crs="EPSG:4326").to_file(path)
    (finding,) = check_area(config)
    assert "no area" in finding.found


def test_expected_area_is_that_of_the_rule(folder: Path) -> None:
    write_area(folder / "resources/user/mine/aoi.gpkg", -69.95, -12.95)
    config = config_of({"aoi": {"expected_area_km2": 100}}, crs="EPSG:32719", anchor=NEAR)
    (finding,) = check_area(config)
    assert (finding.severity, finding.expected) == ("error", "100.0 km² within 1% (aoi.expected_area_km2)")


def test_units_of_geoboundaries_are_checked_once_downloaded(folder: Path) -> None:
    config = config_of({"aoi": {"source": "geoboundaries", "names": ["Tambopata"]}}, crs="EPSG:32630", anchor={"x": 0, "y": 0})
    assert check_area(config) == []
    (finding,) = check_area(config.model_copy(update={"grid": config.grid.model_copy(update={"crs": "EPSG:4326"})}))
    assert finding.do == "set grid.crs to the UTM zone of the area"
    write_area(folder / "resources/automatic/mine/boundaries.geojson", -69.95, -12.95)
    (finding,) = check_area(config)
    assert "EPSG:32719" in finding.do


def test_an_anchor_beside_the_lattice(folder: Path) -> None:
    write_area(folder / "resources/user/mine/aoi.gpkg", -69.95, -12.95)
    (finding,) = check_area(config_of(crs="EPSG:32719", anchor={"x": 350010, "y": 8560005}))
    assert (finding.severity, finding.do) == ("warning", "set grid.anchor: {x: 350000, y: 8560020}")


def test_left_overs_of_the_shipped_configuration(folder: Path) -> None:
    """The file that a newcomer gets by copying config/config.yaml and changing run, area and CRS."""
    values = yaml.safe_load((folder / "config/config.yaml").read_text())
    values |= {"run": "mine", "aoi": {"source": "file"}}
    values["grid"]["crs"] = "EPSG:32719"
    write_area(folder / "resources/user/mine/aoi.gpkg", -69.95, -12.95)
    error, warning = check_area(parse_config(values))
    assert (error.severity, warning.severity) == ("error", "warning")
    for text in ("country: GH", "grid.released_ids_up_to: 2040", "publish.title: SmallMinesDS, regenerated", "publish.description"):
        assert text in error.found
    assert "grid.expected_tiles: 2135" in warning.found
    assert "grid.anchor: {x: 586600, y: 729640}" in warning.found
    assert "km away" in warning.found


def test_values_of_ghana_are_right_in_ghana(folder: Path) -> None:
    values = yaml.safe_load((folder / "config/config.yaml").read_text()) | {"run": "again", "aoi": {"source": "file"}}
    write_area(folder / "resources/user/again/aoi.gpkg", -1.97, 6.17)
    assert check_area(parse_config(values)) == []
    write_area(folder / "resources/user/again/aoi.gpkg", -2.5, 9.9)  # northern Ghana: country is right, the rest is not
    error, _ = check_area(parse_config(values))
    assert "country" not in error.found
    assert "released_ids_up_to" in error.found


def test_a_country_by_itself_warns(folder: Path) -> None:
    """Two places of a large country can lie farther apart than any two of the country of the shipped configuration."""
    write_area(folder / "resources/user/mine/aoi.gpkg", -69.95, -12.95)
    years = {2023: {"start": "2023-01-01", "end": "2023-01-31"}}
    grid = {"crs": "EPSG:32719", "anchor": NEAR}
    (finding,) = check_area(parse_config({"run": "mine", "country": "GH", "years": years, "grid": grid}))
    assert finding.severity == "warning"
    assert "country: GH" in finding.found


def test_a_country_that_is_only_the_default_warns(folder: Path) -> None:
    write_area(folder / "resources/user/mine/aoi.gpkg", -69.95, -12.95)
    years = {2023: {"start": "2023-01-01", "end": "2023-01-31"}}
    (finding,) = check_area(parse_config({"run": "mine", "years": years, "grid": {"crs": "EPSG:32719", "anchor": NEAR}}))
    assert finding.severity == "warning"
    assert "country: GH" in finding.found


# --- check: archives ---------------------------------------------------------------------------------------------------------


def test_catalogues_of_static_providers(folder: Path) -> None:
    here = {"provider": "static", "catalogue": "archive/catalog.json"}
    sections = {"sentinel2": here, "sentinel1": here, "elevation": {"provider": "static"}}
    found = check_archives(config_of(sections))
    assert [finding.found for finding in found] == ["archive/catalog.json: no such file"] * 2 + ["no address"]
    assert len(errors(found)) == 3
    manifest = folder / "resources/user/mine/manifests/2023/s1.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    assert len(check_archives(config_of(sections))) == 2, "a frozen manifest needs no catalogue"
    (folder / "archive").mkdir()
    (folder / "archive/catalog.json").write_text("{}")
    sections["elevation"] = {"provider": "aws", "fallbacks": ["static"]}
    (finding,) = check_archives(config_of(sections))
    assert finding.severity == "warning"


def test_accounts_are_named_and_never_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = check_archives(config_of())
    assert [(finding.severity, finding.expected) for finding in found] == [
        ("warning", "an account for cdse (sentinel2)"),
        ("warning", "an account for earth_engine (elevation)"),
    ]
    assert "https://eodata-s3keysmanager" in found[0].do
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "secret-1")
    assert missing_account(provider_of("s2", "cdse"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-2")
    assert missing_account(provider_of("s2", "cdse")) is None
    monkeypatch.setenv("CDSE_USERNAME", "secret-3")
    monkeypatch.delenv("CDSE_PASSWORD", raising=False)
    assert missing_account(provider_of("s2", "cdse_https")) == "CDSE_PASSWORD not set"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent/secret-4.json")
    missing = missing_account(provider_of("dem", "earth_engine"))
    assert missing == "GOOGLE_APPLICATION_CREDENTIALS names a file that does not exist"
    for sensor, name in (("s2", "earth_search"), ("s1", "planetary_computer"), ("dem", "aws")):
        assert missing_account(provider_of(sensor, name)) is None


@pytest.mark.parametrize("path", [".aws/credentials", ".config/earthengine/credentials"])
def test_credential_files_count(folder: Path, path: str) -> None:
    file = folder / "home" / path
    file.parent.mkdir(parents=True)
    file.write_text("")
    assert len(check_archives(config_of())) == 1


# --- before a run ------------------------------------------------------------------------------------------------------------


def test_only_what_the_planned_jobs_need_is_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_of({"sentinel2": {"provider": "static", "catalogue": "no.json"}}, crs="EPSG:32719")
    check_before_run(config, {"mask", "labels"})
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit, match="nothing was run"):
        check_before_run(config, {"grid"})
    assert "one area of interest" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        check_before_run(config, {"search"})
    assert "no.json: no such file" in capsys.readouterr().err
    write_area(folder / "resources/user/mine/aoi.gpkg", -69.95, -12.95)
    check_before_run(config, {"grid"})
    assert "grid.anchor" in capsys.readouterr().err, "a warning stops nothing"


# --- a new region ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [name for name in PLACES if "equator" not in name])
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_a_new_configuration_passes_the_checks(folder: Path, place: str, crs: str) -> None:
    longitude, latitude, name = PLACES[place]
    half = 0.02
    aoi = write_area(folder / "area.gpkg", longitude, latitude, half, crs)
    write_config(Region("new-mine", aoi, "UG", (2023, 2019)), Path("config/new-mine.yaml"))
    config = read_config(Path("config/new-mine.yaml"))
    assert (config.run, config.country, config.year_names) == ("new-mine", "UG", ["2019", "2023"])
    assert config.years[2019].start.month == (7 if name.endswith("S") else 1)
    assert config.grid.crs == f"EPSG:32{'7' if name.endswith('S') else '6'}{name[:2]}"
    anchor = config.grid.anchor
    assert (anchor.x % 20, anchor.y % 20) == (0, 0)
    to_grid = Transformer.from_crs("EPSG:4326", config.grid.crs, always_xy=True)
    west, _, _, north = to_grid.transform_bounds(longitude - half, latitude - half, longitude + half, latitude + half)
    assert 0 <= west - anchor.x < 20
    assert 0 <= anchor.y - north < 20
    assert (config.grid.expected_tiles, config.grid.released_ids_up_to, config.aoi.expected_area_km2) == (None, None, None)
    assert config.publish.title == "Mines of New Mine, 2019, 2023"
    assert config.publish.description == ""
    Path("resources/user/new-mine").mkdir(parents=True)
    shutil.copy(aoi, "resources/user/new-mine/aoi.gpkg")
    assert check_area(config) == []


def test_the_file_is_commented_and_never_overwritten(folder: Path) -> None:
    aoi = write_area(folder / "area.gpkg", -69.95, -12.95)
    target = Path("config/peru.yaml")
    write_config(Region("peru", aoi, "PE", (2023,)), target)
    text = target.read_text()
    assert "smallmines config check --config config/peru.yaml" in text
    assert max(len(line) for line in text.splitlines()) <= 140
    assert text.count("#") > 10
    assert "$" not in text
    with pytest.raises(UserError, match="it exists"):
        write_config(Region("other", aoi, "PE", (2023,)), target)
    assert target.read_text() == text


def test_blocks_follow_the_size_of_the_area(folder: Path) -> None:
    for half, blocks in ((0.01, 1), (0.26, 3)):
        write_config(Region("r", write_area(folder / "area.gpkg", -69.95, -12.95, half), "PE", (2023,)), Path("r.yaml"))
        assert read_config(Path("r.yaml")).grid.blocks == blocks
        Path("r.yaml").unlink()
        Path("area.gpkg").unlink()


def test_the_country_comes_from_the_attributes_or_is_asked_for(folder: Path) -> None:
    def country(run: str, **columns: Any) -> str:
        aoi = write_area(folder / f"{run}.gpkg", -69.95, -12.95, **columns)
        write_config(Region(run, aoi, "", (2023,)), Path(f"{run}.yaml"))
        return read_config(Path(f"{run}.yaml")).country

    assert country("a", ISO_A2="PE", name="x") == "PE"
    assert country("b", shapeISO="PE-MDD") == "PE"
    with pytest.raises(UserError, match="--country PE"):
        country("c", name="PE")
    with pytest.raises(UserError, match="BO, PE among"):
        country("d", ISO_A2="PE", iso_3166_2="BO-N")
    assert not Path("d.yaml").exists()


@pytest.mark.parametrize(
    ("run", "country", "key"),
    [("Mine", "PE", "run"), ("x" * 101, "PE", "run"), ("a\nb", "PE", "run"), ("../a", "PE", "run"), ("", "PE", "run")],
)
def test_names_that_the_configuration_refuses(folder: Path, run: str, country: str, key: str) -> None:
    aoi = write_area(folder / "area.gpkg", -69.95, -12.95)
    with pytest.raises(UserError) as caught:
        write_config(Region(run, aoi, country, (2023,)), Path("x.yaml"))
    assert caught.value.found.startswith(f"{key}: ")
    assert not Path("x.yaml").exists()


def test_copying_the_area_is_what_the_run_needs(folder: Path) -> None:
    for name in ("area.gpkg", "area.shp"):
        aoi = write_area(folder / "given data" / name, -69.95, -12.95)
        subprocess.run("\n".join(copy_commands(Region(name[5:], aoi, "PE", (2023,)))), shell=True, check=True)
        config = config_of({"run": name[5:]}, crs="EPSG:32719", anchor=NEAR)
        assert check_area(config) == []
    other = write_area(folder / "area.gml", -69.95, -12.95)
    assert copy_commands(Region("gml", other, "PE", (2023,))) == []
    write_config(Region("gml", other, "PE", (2023,)), Path("gml.yaml"))
    assert user_aoi(read_config(Path("gml.yaml"))) == [str(other)]


@pytest.mark.parametrize(
    ("country", "advice"),
    [
        ("UK", "name it, e.g. --country PE"),
        ("PERU", "--country PE is Peru"),
        ("ZZ", "name it"),
        ("GHANA", "--country GH is Ghana"),
        ("P", "name it"),
    ],
)
def test_countries_that_do_not_exist(folder: Path, country: str, advice: str) -> None:
    aoi = write_area(folder / "area.gpkg", -69.95, -12.95)
    with pytest.raises(UserError, match="ISO 3166-1") as caught:
        write_config(Region("mine", aoi, country, (2023,)), Path("x.yaml"))
    assert caught.value.found == country
    assert caught.value.do.startswith(advice)
    assert not Path("x.yaml").exists()


def test_codes_of_countries_are_those_of_iso() -> None:
    codes = countries()
    assert {"GH", "PE", "CD", "GB", "XK", "NO"} <= set(codes)
    assert not {"UK", "XX", "AN"} & set(codes)
    assert len(codes) == 250


def test_a_country_that_does_not_exist_is_told(folder: Path) -> None:
    write_area(folder / "resources/user/mine/aoi.gpkg", -69.95, -12.95)
    (finding,) = check_area(config_of({"country": "XX"}, crs="EPSG:32719", anchor=NEAR))
    assert (finding.severity, finding.found) == ("warning", "XX")


@pytest.mark.parametrize(
    ("half", "words"),
    [(1e-6, "at least one pixel, 100 m²"), (1.5, "at most 20000 tiles"), (12, "lengths are right to 1%"), (30, "lengths are right to 1%")],
)
def test_areas_of_absurd_size(folder: Path, half: float, words: str) -> None:
    aoi = write_area(folder / "area.gpkg", 30.1, 1.2, half)
    with pytest.raises(UserError, match=words):
        write_config(Region("mine", aoi, "UG", (2023,)), Path("x.yaml"))
    assert not Path("x.yaml").exists()


def test_too_many_tiles_are_an_error_of_the_check(folder: Path) -> None:
    write_area(folder / "resources/user/mine/aoi.gpkg", -69.95, -12.95)
    config = config_of(crs="EPSG:32719", anchor=NEAR, max_tiles=50)
    (finding,) = check_area(config)
    assert (finding.severity, finding.expected) == ("error", "at most 50 tiles (grid.max_tiles)")
    assert finding.found == "at least 293 tiles of 1280 m for 480 km²"


def test_a_given_fishnet_is_checked_before_the_run(folder: Path) -> None:
    write_area(folder / "resources/user/mine/aoi.gpkg", -69.95, -12.95)
    cell = shapely.box(386000, 8578720, 387280, 8580000)
    gpd.GeoDataFrame({"tile_id": [1.0, 2.0]}, geometry=[cell, cell], crs="EPSG:32719").to_file(folder / "net.gpkg")
    config = config_of(crs="EPSG:32719", anchor=NEAR, source="file", file="net.gpkg")
    (finding,) = check_area(config)
    assert finding.found == "2 of 2 others: '1.0', '2.0'"


def test_a_folder_is_no_area(folder: Path) -> None:
    (finding,) = check_area(config_of({"aoi": {"path": str(folder)}}, crs="EPSG:32719"))
    assert finding.found == f"the folder {folder}"
    (folder / "resources/user/mine/aoi.gpkg").mkdir(parents=True)
    (finding,) = check_area(config_of(crs="EPSG:32719"))
    assert finding.found == "none"
    with pytest.raises(UserError, match="one area of interest"):
        only_aoi(config_of(crs="EPSG:32719"))
