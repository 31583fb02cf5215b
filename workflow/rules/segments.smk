# Mean-shift segments of each block and year, a table of their features, and one of their surroundings (assistant.features: context).


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


rule context:
    input:
        segments="<results>/segments/{year}/{block}/segments.tif",
        features="<results>/segments/{year}/{block}/features.parquet",
        s2="<results>/composites/{year}/{block}/s2.tif",
        s1="<results>/composites/{year}/{block}/s1.tif",
        grid="<results>/grid/grid.json",
    output:
        "<results>/segments/{year}/{block}/context.parquet",
    log:
        "<logs>/context/{year}-{block}.log",
    benchmark:
        "<benchmarks>/context/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        *code("context"),
    message:
        "Describing the surroundings of the segments of block {wildcards.block} of {wildcards.year}"
    script:
        "../scripts/context.py"
