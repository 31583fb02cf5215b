# No param but a resource, in millionths: with a lower limit, composites that are good enough are not made again.
MINIMUM_COVERAGE = round(1e6 * cfg.minimum_coverage)


# One surface a sensor, year and block, all on the block's grid.
rule composite_s2:
    input:
        grid="<results>/grid/grid.json",
        fetched="<results>/fetched/{year}/{block}/s2.json",
    output:
        image="<results>/composites/{year}/{block}/s2.tif",
        source="<results>/composites/{year}/{block}/s2_source.tif",
        clear_mask="<results>/composites/{year}/{block}/clear.tif",
        stats="<results>/composites/{year}/{block}/s2.json",
    log:
        "<logs>/composite_s2/{year}-{block}.log",
    benchmark:
        "<benchmarks>/composite_s2/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
        minimum_coverage=MINIMUM_COVERAGE,
    params:
        *code("composite_s2"),
        config=parameters(cfg.sentinel2, Sentinel2),
    message:
        "Compositing Sentinel-2: {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/composite_s2.py"


rule compare_years:
    input:
        s2=expand("<results>/composites/{year}/{{block}}/s2.tif", year=cfg.year_names),
        clear_mask=expand("<results>/composites/{year}/{{block}}/clear.tif", year=cfg.year_names),
        fetched=expand("<results>/fetched/{year}/{{block}}/s2.json", year=cfg.year_names),
    output:
        "<results>/compare_years/{block}.json",
    log:
        "<logs>/compare_years/{block}.log",
    benchmark:
        "<benchmarks>/compare_years/{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        *code("compare_years"),
        years=cfg.year_names,
    message:
        "Holding the years against each other: block {wildcards.block}"
    script:
        "../scripts/compare_years.py"


rule composite_s1:
    input:
        grid="<results>/grid/grid.json",
        fetched="<results>/fetched/{year}/{block}/s1.json",
    output:
        image="<results>/composites/{year}/{block}/s1.tif",
        stats="<results>/composites/{year}/{block}/s1.json",
    log:
        "<logs>/composite_s1/{year}-{block}.log",
    benchmark:
        "<benchmarks>/composite_s1/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        minimum_coverage=MINIMUM_COVERAGE,
    params:
        *code("composite_s1"),
        config=parameters(cfg.sentinel1, Sentinel1),
    message:
        "Compositing Sentinel-1: {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/composite_s1.py"


rule composite_dem:
    input:
        grid="<results>/grid/grid.json",
        fetched="<results>/fetched/static/{block}/dem.json",
    output:
        image="<results>/composites/static/{block}/dem.tif",
        stats="<results>/composites/static/{block}/dem.json",
    log:
        "<logs>/composite_dem/static-{block}.log",
    benchmark:
        "<benchmarks>/composite_dem/static-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
        minimum_coverage=MINIMUM_COVERAGE,
    params:
        *code("composite_dem"),
        config=parameters(cfg.elevation, Elevation),
    message:
        "Compositing elevation: block {wildcards.block}"
    script:
        "../scripts/composite_dem.py"
