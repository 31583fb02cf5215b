# Mean-shift segments of each block and year, and a table of their features.


rule segment:
    input:
        s2="<results>/composites/{year}/{block}/s2.tif",
        grid="<results>/grid/grid.json",
    output:
        labels="<results>/segments/{year}/{block}/segments.tif",
        report="<results>/segments/{year}/{block}/segments.json",
    log:
        "<logs>/segment/{year}-{block}.log",
    benchmark:
        "<benchmarks>/segment/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: threads_of_block(4)
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        *code("segment"),
        config=parameters(cfg.segmentation, Segmentation),
    message:
        "Segmenting block {wildcards.block} of {wildcards.year}"
    script:
        "../scripts/segment.py"


rule describe:
    input:
        labels="<results>/segments/{year}/{block}/segments.tif",
        s2="<results>/composites/{year}/{block}/s2.tif",
        clear_mask="<results>/composites/{year}/{block}/clear.tif",
        dem="<results>/composites/static/{block}/dem.tif",
        grid="<results>/grid/grid.json",
    output:
        "<results>/segments/{year}/{block}/features.parquet",
    log:
        "<logs>/describe/{year}-{block}.log",
    benchmark:
        "<benchmarks>/describe/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        *code("describe"),
    message:
        "Describing the segments of block {wildcards.block} of {wildcards.year}"
    script:
        "../scripts/describe.py"
