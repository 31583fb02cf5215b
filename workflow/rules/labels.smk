# What people say, the assistant that proposes labels, and the decision for each segment.
include: "common.smk"


TRAINING_BLOCKS = {block: cfg.blocks if cfg.assistant.on_missing_class == "pooled_model" else [block] for block in cfg.blocks}

# Whether the threshold follows from pixels that people look at.
BY_SAMPLE = cfg.assistant.prevalence == "sample"


rule samples:
    input:
        samples=ancient(PEOPLE.samples),
        drawn=drawn_samples,
        grid="<results>/grid/grid.json",
        segments="<results>/segments/{year}/{block}/segments.tif",
        features="<results>/segments/{year}/{block}/features.parquet",
    output:
        samples="<results>/people/{year}/{block}/samples.parquet",
        refused="<results>/people/{year}/{block}/refused_samples.csv",
    log:
        "<logs>/samples/{year}-{block}.log",
    benchmark:
        "<benchmarks>/samples/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        *code("samples"),
        digest=PEOPLE.samples_digest,
        config=parameters(cfg.assistant, Samples),
        wanted=PEOPLE.sample_path,
        command=PEOPLE.candidates_command,
    message:
        "Checking the samples of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/samples.py"


rule decisions:
    input:
        events=ancient(PEOPLE.events),
        features="<results>/segments/{year}/{block}/features.parquet",
        segments="<results>/segments/{year}/{block}/segments.tif",
    output:
        decisions="<results>/people/{year}/{block}/decisions.parquet",
        lineage="<results>/people/{year}/{block}/lineage.csv",
        review="<results>/people/{year}/{block}/review.csv",
    log:
        "<logs>/decisions/{year}-{block}.log",
    benchmark:
        "<benchmarks>/decisions/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        *code("decisions"),
        digest=PEOPLE.events_digest,
        config=parameters(cfg.labels.transfer, Transfer),
    message:
        "Checking the events of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/decisions.py"


rule assistant:
    input:
        features=lambda wildcards: expand(
            "<results>/segments/{{year}}/{name}/features.parquet",
            name=TRAINING_BLOCKS[wildcards.block],
        ),
        context=lambda wildcards: expand(
            "<results>/segments/{{year}}/{name}/context.parquet",
            name=TRAINING_BLOCKS[wildcards.block] if cfg.assistant.features == "context" else [],
        ),
        samples=lambda wildcards: expand(
            "<results>/people/{{year}}/{name}/samples.parquet",
            name=TRAINING_BLOCKS[wildcards.block],
        ),
        grid="<results>/grid/grid.json",
        sample=ancient(PEOPLE.prevalence_sample) if BY_SAMPLE else [],
        segments="<results>/segments/{year}/{block}/segments.tif" if BY_SAMPLE else [],
    output:
        probabilities="<results>/assistant/{year}/{block}/probabilities.parquet",
        metrics="<results>/assistant/{year}/{block}/metrics.json",
        model="<results>/assistant/{year}/{block}/model.joblib",
    log:
        "<logs>/assistant/{year}-{block}.log",
    benchmark:
        "<benchmarks>/assistant/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: threads_of_block(4)
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        *code("assistant"),
        *([PEOPLE.prevalence_digest] if BY_SAMPLE else []),
        config=parameters(cfg.assistant, Assistant),
        # For a warning in the log. Snakemake does not compare params that take `threads`, so another number reruns nothing.
        points=lambda wildcards, threads: cfg.assistant.prevalence_points,
        blocks=lambda wildcards: TRAINING_BLOCKS[wildcards.block],
    message:
        "Training the assistant of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/assistant.py"


rule labels:
    input:
        features="<results>/segments/{year}/{block}/features.parquet",
        samples="<results>/people/{year}/{block}/samples.parquet",
        decisions="<results>/people/{year}/{block}/decisions.parquet",
        probabilities="<results>/assistant/{year}/{block}/probabilities.parquet",
        metrics="<results>/assistant/{year}/{block}/metrics.json",
        released=["<results>/released/{year}/{block}/labels.parquet"] if cfg.labels.source == "released_samples" else [],
    output:
        "<results>/labels/{year}/{block}.parquet",
    log:
        "<logs>/labels/{year}-{block}.log",
    benchmark:
        "<benchmarks>/labels/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        *code("labels"),
    message:
        "Deciding the labels of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/labels.py"


rule candidates:
    input:
        features="<results>/segments/{year}/{block}/features.parquet",
        context=["<results>/segments/{year}/{block}/context.parquet"] if cfg.assistant.features == "context" else [],
        grid="<results>/grid/grid.json",
    output:
        "<results>/candidates/{year}/{block}.gpkg",
    log:
        "<logs>/candidates/{year}-{block}.log",
    benchmark:
        "<benchmarks>/candidates/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        *code("candidates"),
        config=parameters(cfg.annotate, Candidates),
        save_as=lambda wildcards: f"{PEOPLE.sample_path(wildcards)}.gpkg",
    message:
        "Drawing candidates for labelling in {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/candidates.py"
