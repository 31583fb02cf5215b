# The released dataset whose labels a run takes: downloaded or given, and pasted on the grid of each block.


# The files go to resources/automatic/released/, so that a failed job loses none of them; the pins in resources/user/ are people's.
rule released:
    input:
        grid="<results>/grid/grid.json",
    output:
        "<results>/released/release.json",
    log:
        "<logs>/released.log",
    benchmark:
        "<benchmarks>/released.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=240,
        connections=1,
    params:
        *code("released"),
        years=cfg.year_names,
        user_folder=f"resources/user/{cfg.run}",
        config=parameters(cfg.released, Released),
    message:
        "Reading the masks of the released dataset"
    script:
        "../scripts/released.py"


rule released_mask:
    input:
        release="<results>/released/release.json",
        grid="<results>/grid/grid.json",
    output:
        "<results>/masks/{year}/{block}.tif" if cfg.labels.source == "released_masks" else "<results>/released/{year}/{block}/mask.tif",
    log:
        "<logs>/released_mask/{year}-{block}.log",
    benchmark:
        "<benchmarks>/released_mask/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        *code("released_mask"),
        tags=lambda wildcards: {"YEAR": wildcards.year, "BLOCK": wildcards.block},
    message:
        "Pasting the released masks of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/released_mask.py"


if cfg.labels.source == "released_samples":

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
