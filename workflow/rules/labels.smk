# What people say, the assistant that proposes labels, and the decision for each segment.
from smallmines.labels.samples import SUFFIXES as SAMPLE_SUFFIXES
from smallmines.labels.samples import events_digest, samples_digest


def sample_files(wildcards):
    """The sample files of a block and year that exist: none lets the workflow plan, the rule then says what is missing."""
    return only_file(
        f"resources/user/{cfg.run}/samples/{wildcards.year}",
        wildcards.block,
        SAMPLE_SUFFIXES,
    )


def event_files(wildcards):
    """The event files of a block and year that exist."""
    folder = f"resources/user/{cfg.run}/events/{wildcards.year}/{wildcards.block}"
    return sorted(
        f"{folder}/{name}"
        for name in (os.listdir(folder) if os.path.isdir(folder) else [])
        if name.endswith(".jsonl")
    )


def annotate_command(wildcards):
    """What to type where there are no samples yet; nothing where there are some, since params must not depend on how the run was called."""
    files = " ".join(str(path) for path in workflow.overwrite_configfiles)
    return (
        ""
        if sample_files(wildcards)
        else "snakemake annotate" + (f" --configfile {files}" if files else "")
    )


def training_blocks(wildcards):
    """The blocks whose samples the assistant of a block may use."""
    return (
        cfg.blocks
        if cfg.assistant.on_missing_class == "pooled_model"
        else [wildcards.block]
    )


rule labels:
    input:
        samples=ancient(sample_files),
        events=ancient(event_files),
        grid="<results>/grid/grid.json",
        segments="<results>/segments/{year}/{block}/segments.tif",
        features="<results>/segments/{year}/{block}/features.parquet",
    output:
        samples="<results>/people/{year}/{block}/samples.parquet",
        decisions="<results>/people/{year}/{block}/decisions.parquet",
        refused="<results>/people/{year}/{block}/refused.csv",
    log:
        "<logs>/labels/{year}-{block}.log",
    benchmark:
        "<benchmarks>/labels/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        *code("labels"),
        digest=lambda wildcards: f"{samples_digest(sample_files(wildcards), cfg.grid.crs)} {events_digest(event_files(wildcards))}",
        config=cfg.assistant.model_dump(
            mode="json", include={"folds", "on_missing_class"}
        ),
        wanted=lambda wildcards: f"resources/user/{cfg.run}/samples/{wildcards.year}/{wildcards.block}",
        command=annotate_command,
    message:
        "Checking the samples and events of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/labels.py"


rule assist:
    input:
        features=lambda wildcards: expand(
            "<results>/segments/{{year}}/{name}/features.parquet",
            name=training_blocks(wildcards),
        ),
        samples=lambda wildcards: expand(
            "<results>/people/{{year}}/{name}/samples.parquet",
            name=training_blocks(wildcards),
        ),
    output:
        probabilities="<results>/assistant/{year}/{block}/probabilities.parquet",
        metrics="<results>/assistant/{year}/{block}/metrics.json",
        model="<results>/assistant/{year}/{block}/model.joblib",
    log:
        "<logs>/assist/{year}-{block}.log",
    benchmark:
        "<benchmarks>/assist/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        *code("assist"),
        config=cfg.assistant.model_dump(mode="json"),
        blocks=training_blocks,
    message:
        "Training the assistant of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/assist.py"


rule decide:
    input:
        features="<results>/segments/{year}/{block}/features.parquet",
        samples="<results>/people/{year}/{block}/samples.parquet",
        decisions="<results>/people/{year}/{block}/decisions.parquet",
        probabilities="<results>/assistant/{year}/{block}/probabilities.parquet",
        metrics="<results>/assistant/{year}/{block}/metrics.json",
    output:
        "<results>/labels/{year}/{block}.parquet",
    log:
        "<logs>/decide/{year}-{block}.log",
    benchmark:
        "<benchmarks>/decide/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        *code("decide"),
    message:
        "Deciding the labels of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/decide.py"


rule candidates:
    input:
        features="<results>/segments/{year}/{block}/features.parquet",
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
        config=cfg.annotate.model_dump(mode="json"),
        save_as=lambda wildcards: f"resources/user/{cfg.run}/samples/{wildcards.year}/{wildcards.block}.gpkg",
    message:
        "Drawing candidates for labelling in {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/candidates.py"
