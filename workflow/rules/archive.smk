# Which items of the archives are used (manifests), what they cover, and their pixels in the cache.
PIXELS = "resources/automatic/pixels"


rule search:
    input:
        grid=ancient("<results>/grid/grid.json"),
        catalogue=catalogue_file,
        archived=lambda wildcards: [ancient(path) for path in archived_manifest(wildcards)],
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
        archived=lambda wildcards: [sha256(path) for path in archived_manifest(wildcards)],
        config=lambda wildcards: without_unset(parameters(SECTIONS[wildcards.sensor], SEARCH[wildcards.sensor])),
    message:
        "Searching the archive: {wildcards.sensor}, {wildcards.year}"
    script:
        "../scripts/search.py"


rule coverage:
    input:
        grid=ancient("<results>/grid/grid.json"),
        manifests=[f"<results>/manifests/{name}.json" for name in MANIFESTS],
    output:
        shares="<results>/coverage/coverage.json",
        picture=plot("coverage", "Coverage by the chosen scenes"),
    log:
        "<logs>/coverage.log",
    benchmark:
        "<benchmarks>/coverage.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=30,
        # No param: `coverage` would run again with the number of `fetch`, and Snakemake would leave `fetch` itself for the next run.
        reading=FROZEN["fetch"],
    params:
        *code("coverage"),
        area=area,
        names=MANIFESTS,
        pixels=PIXELS,
        config={sensor: parameters(section, FETCH[sensor]) for sensor, section in SECTIONS.items()},
    message:
        "Checking what the chosen scenes cover"
    script:
        "../scripts/coverage.py"


rule covered:
    input:
        "<results>/coverage/coverage.json",
    output:
        "<results>/coverage/sufficient.json",
    log:
        "<logs>/covered.log",
    benchmark:
        "<benchmarks>/covered.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        *code("covered"),
        minimum=cfg.minimum_coverage,
    message:
        "Requiring that every block is covered"
    script:
        "../scripts/covered.py"


rule fetch:
    input:
        grid=ancient("<results>/grid/grid.json"),
        manifest="<results>/manifests/{year}/{sensor}.json",
        covered=ancient("<results>/coverage/sufficient.json"),
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
        pixels=PIXELS,
        reading=FROZEN["fetch"],
        config=lambda wildcards: parameters(SECTIONS[wildcards.sensor], FETCH[wildcards.sensor]),
    message:
        "Fetching pixels: {wildcards.sensor}, {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/fetch.py"
