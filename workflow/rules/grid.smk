# The area of interest, and the lattice, tiles and blocks laid over it.


rule boundaries:
    output:
        "<automatic>/boundaries.geojson",
    log:
        "<logs>/boundaries.log",
    benchmark:
        "<benchmarks>/boundaries.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        *code("boundaries"),
        config=parameters(cfg.aoi, Boundaries),
    message:
        "Downloading the administrative boundaries"
    script:
        "../scripts/boundaries.py"


rule grid:
    input:
        aoi=aoi_file,
    output:
        fishnet="<results>/grid/fishnet.parquet",
        blocks="<results>/grid/blocks.parquet",
        grid="<results>/grid/grid.json",
    log:
        "<logs>/grid.log",
    benchmark:
        "<benchmarks>/grid.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        *code("grid"),
        aoi=parameters(cfg.aoi, Aoi),
        grid=parameters(cfg.grid, Grid),
        given_tiles=given_tiles,
        user_folder=f"resources/user/{cfg.run}",
    message:
        "Laying the grid of tiles and blocks over the area of interest"
    script:
        "../scripts/grid.py"
