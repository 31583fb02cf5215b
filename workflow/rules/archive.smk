# Which items of the archives are used (manifests), and their pixels in the cache.
ASKED = {
    "s2": {
        "provider",
        "catalogue",
        "method",
        "clouds",
        "masked_classes",
        "max_cloud_cover",
        "minimum_clear_share",
        "max_datatakes",
    },
    "s1": {"provider", "catalogue", "orbit_state", "relative_orbit"},
    "dem": {"provider", "catalogue"},
}
READ = {
    "s2": {"resampling_20m", "cloud_dilation_px", "cloud_opening_px"},
    "s1": {"border_erosion_px"},
    "dem": set(),
}


rule search:
    input:
        grid=ancient("<results>/grid/grid.json"),
        catalogue=catalogue_file,
    output:
        "<results>/manifests/{year}/{sensor}.json",
    log:
        "<logs>/search/{year}-{sensor}.log",
    benchmark:
        "<benchmarks>/search/{year}-{sensor}.tsv"
    wildcard_constraints:
        year=r"\d{4}(?=/s\d)|static(?=/dem)",
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=60,
        connections=1,
    params:
        *code("search"),
        area=area,
        windows=windows_asked,
        config=lambda wildcards: section_of(wildcards.sensor).model_dump(mode="json", include=ASKED[wildcards.sensor]),
    message:
        "Searching the archive: {wildcards.sensor}, {wildcards.year}"
    script:
        "../scripts/search.py"


rule fetch:
    input:
        grid=ancient("<results>/grid/grid.json"),
        manifest="<results>/manifests/{year}/{sensor}.json",
    output:
        "<results>/fetched/{year}/{block}/{sensor}.json",
    log:
        "<logs>/fetch/{year}-{block}-{sensor}.log",
    benchmark:
        "<benchmarks>/fetch/{year}-{block}-{sensor}.tsv"
    wildcard_constraints:
        year=r"\d{4}(?=/\d+/s\d)|static(?=/\d+/dem)",
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=240,
        connections=1,
    params:
        *code("fetch"),
        area=area,
        pixels="resources/automatic/pixels",
        config=lambda wildcards: section_of(wildcards.sensor).model_dump(mode="json", include=READ[wildcards.sensor]),
    message:
        "Fetching pixels: {wildcards.sensor}, {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/fetch.py"
