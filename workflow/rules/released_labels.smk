# Labels from the released masks of each block, and how far forest and masks are from these.
include: "common.smk"


# Samples and labels as people would give them, from the segments that the release gives a class.
rule released_labels:
    input:
        mask="<results>/released/{year}/{block}/mask.tif",
        segments="<results>/segments/{year}/{block}/segments.tif",
        features="<results>/segments/{year}/{block}/features.parquet",
        grid="<results>/grid/grid.json",
    output:
        samples="<results>/released/{year}/{block}/samples.csv",
        labels="<results>/released/{year}/{block}/labels.parquet",
    log:
        "<logs>/released_labels/{year}-{block}.log",
    benchmark:
        "<benchmarks>/released_labels/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        *code("released_labels"),
        config=parameters(cfg.released, ReleasedSamples),
        seed=cfg.labels.seed,
        transfer=parameters(cfg.labels.transfer, Transfer),
    message:
        "Labels from the released masks of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/released_labels.py"


# How far forest, masks and segments are from the released masks.
rule released_agreement:
    input:
        released="<results>/released/{year}/{block}/mask.tif",
        mask="<results>/masks/{year}/{block}.tif",
        segments="<results>/segments/{year}/{block}/segments.tif",
        features="<results>/segments/{year}/{block}/features.parquet",
        probabilities="<results>/assistant/{year}/{block}/probabilities.parquet",
        metrics="<results>/assistant/{year}/{block}/metrics.json",
        grid="<results>/grid/grid.json",
    output:
        "<results>/released/{year}/{block}/agreement.json",
    log:
        "<logs>/released_agreement/{year}-{block}.log",
    benchmark:
        "<benchmarks>/released_agreement/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        *code("released_agreement"),
        config=parameters(cfg.released, ReleasedSamples),
        seed=cfg.labels.seed,
    message:
        "Comparing labels of {wildcards.year}, block {wildcards.block} with the released masks"
    script:
        "../scripts/released_agreement.py"
