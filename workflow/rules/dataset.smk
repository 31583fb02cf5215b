# The published folder: patches of all blocks in the released layout, an index, and a check of it all.
include: "common.smk"


rule assemble:
    input:
        patches=expand("<results>/patches/{{year}}/{block}/{{kind}}", block=cfg.blocks),
        measured=expand("<results>/measured/{{year}}/{block}/{{kind}}.parquet", block=cfg.blocks),
        grid="<results>/grid/grid.json",
    output:
        "<results>/dataset/{year}/{kind}.sha256",
    log:
        "<logs>/assemble/{year}-{kind}.log",
    benchmark:
        "<benchmarks>/assemble/{year}-{kind}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=30,
    params:
        *code("assemble"),
        blocks=cfg.blocks,
        country=cfg.country,
    message:
        "Assembling dataset/{wildcards.year}/{wildcards.kind}"
    script:
        "../scripts/assemble.py"


# What the labels are worth; `verify` holds it against the gates of the configuration.
rule label_quality:
    input:
        features=of_segments("<results>/segments/{year}/{block}/features.parquet"),
        labels=of_segments("<results>/labels/{year}/{block}.parquet"),
        masks=of_all("<results>/masks/{year}/{block}.tif"),
        events=ancient(QUALITY_INPUTS["events"]),
        overlap=ancient(QUALITY_INPUTS["overlap"]),
        design=ancient(QUALITY_INPUTS["design"]),
        references=ancient(QUALITY_INPUTS["references"]),
        release=["<results>/released/release.json"] if cfg.labels.source != "people" else [],
        grid=[] if SEGMENTED else "<results>/grid/grid.json",
        agreement=of_all("<results>/released/{year}/{block}/agreement.json") if cfg.labels.source == "released_samples" else [],
    output:
        labels="<results>/dataset/labels.json",
        points="<results>/dataset/accuracy_points.csv",
    log:
        "<logs>/label_quality.log",
    benchmark:
        "<benchmarks>/label_quality.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        *code("label_quality"),
        digest=events_digest(path for paths in QUALITY_INPUTS.values() for path in paths),
        years=cfg.year_names,
        blocks=cfg.blocks,
        seed=cfg.labels.seed,
    message:
        "Measuring what the labels are worth"
    script:
        "../scripts/label_quality.py"


# Made once: a label edit moves no tile (`ancient`), nor does a new version of the code (a number stands for it). Where a frozen file is, the
# masks are no input: Snakemake looks at nothing else of a job that comes after one that runs, and would miss another frozen file.
rule splits:
    input:
        masks=[] if FROZEN_SPLITS else ancient(of_all("<results>/masks/{year}/{block}.tif")),
        frozen=FROZEN_SPLITS,
        grid="<results>/grid/grid.json",
    output:
        "<results>/dataset/splits.csv",
    log:
        "<logs>/splits.log",
    benchmark:
        "<benchmarks>/splits.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        *code("splits"),
        digest=[sha256(path) for path in FROZEN_SPLITS],
        years=cfg.year_names,
        blocks=cfg.blocks,
        config=parameters(cfg.splits, Splits),
    message:
        "Splitting the tiles into train, val and test"
    script:
        "../scripts/splits.py"


rule leakage:
    input:
        index="<results>/dataset/index.parquet",
        frozen=FROZEN_SPLITS,
    output:
        "<results>/splits.json",
    log:
        "<logs>/leakage.log",
    benchmark:
        "<benchmarks>/leakage.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        *code("leakage"),
        config=parameters(cfg.splits, Splits),
        limit=cfg.doctor.location_r2,
        digest=[sha256(path) for path in FROZEN_SPLITS],
    message:
        "Telling what the splits leak"
    script:
        "../scripts/leakage.py"


# A row for each tile, from the products of its block: shares come from these and not from the patches, so that `verify` can compare.
rule index_block:
    input:
        masks="<results>/masks/{year}/{block}.tif",
        s2="<results>/composites/{year}/{block}/s2.tif",
        s1="<results>/composites/{year}/{block}/s1.tif",
        source="<results>/composites/{year}/{block}/s2_source.tif",
        clear_mask="<results>/composites/{year}/{block}/clear.tif",
        segments="<results>/segments/{year}/{block}/segments.tif" if SEGMENTED else [],
        labels="<results>/labels/{year}/{block}.parquet" if SEGMENTED else [],
        dem="<results>/composites/static/{block}/dem.tif",
        grid="<results>/grid/grid.json",
    output:
        "<results>/indexed/{year}/{block}.parquet",
    log:
        "<logs>/index_block/{year}-{block}.log",
    benchmark:
        "<benchmarks>/index_block/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        *code("index_block"),
    message:
        "Counting the pixels of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/index_block.py"


rule index:
    input:
        rows=of_all("<results>/indexed/{year}/{block}.parquet"),
        lists=DATASET_LISTS,
        label_quality="<results>/dataset/labels.json",
        splits="<results>/dataset/splits.csv",
        fishnet="<results>/grid/fishnet.parquet",
        grid="<results>/grid/grid.json",
    output:
        "<results>/dataset/index.parquet",
    log:
        "<logs>/index.log",
    benchmark:
        "<benchmarks>/index.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        *code("index"),
        years=cfg.year_names,
        blocks=cfg.blocks,
        country=cfg.country,
        windows=WINDOWS,
        run=cfg.run,
    message:
        "Indexing the dataset"
    script:
        "../scripts/index.py"


# Of the images alone, so that a label edit leaves it.
rule band_statistics:
    input:
        sums="<results>/dataset/{year}/IMAGE.sha256",
        measured=expand("<results>/measured/{{year}}/{block}/IMAGE.parquet", block=cfg.blocks),
    output:
        "<results>/statistics/{year}.json",
    log:
        "<logs>/band_statistics/{year}.log",
    benchmark:
        "<benchmarks>/band_statistics/{year}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        *code("band_statistics"),
    message:
        "Measuring the bands of {wildcards.year}"
    script:
        "../scripts/band_statistics.py"


# Products that are not made again after an upgrade keep the versions they were made with.
rule software:
    input:
        fetched=[
            *expand("<results>/fetched/{year}/{block}/{sensor}.json", year=cfg.year_names, block=cfg.blocks, sensor=["s2", "s1"]),
            *expand("<results>/fetched/static/{block}/dem.json", block=cfg.blocks),
        ],
        composites=[
            *of_all("<results>/composites/{year}/{block}/s2.tif"),
            *of_all("<results>/composites/{year}/{block}/s1.tif"),
            *expand("<results>/composites/static/{block}/dem.tif", block=cfg.blocks),
        ],
        segmentations=of_segments("<results>/segments/{year}/{block}/segments.tif"),
        features=of_segments("<results>/segments/{year}/{block}/features.parquet"),
        probabilities=of_segments("<results>/assistant/{year}/{block}/probabilities.parquet"),
        labels=of_segments("<results>/labels/{year}/{block}.parquet"),
        masks=of_all("<results>/masks/{year}/{block}.tif"),
    output:
        "<results>/software.json",
    log:
        "<logs>/software.log",
    benchmark:
        "<benchmarks>/software.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        *code("software"),
    message:
        "Gathering the versions of software"
    script:
        "../scripts/software.py"


rule documents:
    input:
        index="<results>/dataset/index.parquet",
        label_quality="<results>/dataset/labels.json",
        splits="<results>/dataset/splits.csv",
        report="<results>/splits.json",
        software="<results>/software.json",
        statistics=expand("<results>/statistics/{year}.json", year=cfg.year_names),
        manifests=expand("<results>/manifests/{place}.json", place=MANIFESTS),
        composites=[
            *of_all("<results>/composites/{year}/{block}/s2.json"),
            *of_all("<results>/composites/{year}/{block}/s1.json"),
            *expand("<results>/composites/static/{block}/dem.json", block=cfg.blocks),
        ],
    output:
        "<results>/dataset/README.md",
        "<results>/dataset/DATASHEET.md",
        "<results>/dataset/LICENSE",
        "<results>/dataset/croissant.json",
        facts="<results>/dataset/facts.json",
    log:
        "<logs>/documents.log",
    benchmark:
        "<benchmarks>/documents.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        *code("documents"),
        windows=WINDOWS,
        about=parameters(cfg.publish, Documents),
        run=cfg.run,
        country=cfg.country,
    message:
        "Writing the card, the datasheet, the licence and the Croissant"
    script:
        "../scripts/documents.py"


# The items lie beside the collection: the seal lists them, and `verify` looks.
rule catalogue:
    input:
        index="<results>/dataset/index.parquet",
        facts="<results>/dataset/facts.json",
    output:
        "<results>/dataset/stac/collection.json",
    log:
        "<logs>/catalogue.log",
    benchmark:
        "<benchmarks>/catalogue.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        *code("catalogue"),
        windows=WINDOWS,
        about=parameters(cfg.publish, Catalogue),
        run=cfg.run,
    message:
        "Writing the STAC catalogue"
    script:
        "../scripts/catalogue.py"


rule seal:
    input:
        lists=DATASET_LISTS,
        files=DATASET_FILES,
    output:
        "<results>/dataset/SHA256SUMS",
    log:
        "<logs>/seal.log",
    benchmark:
        "<benchmarks>/seal.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        *code("seal"),
    message:
        "Sealing the dataset"
    script:
        "../scripts/seal.py"


# `snakemake package`: not made with all else, since it is as large as the dataset.
rule package:
    input:
        sums="<results>/dataset/SHA256SUMS",
        verified="<results>/verify.json",
    output:
        f"<results>/{cfg.run}-{cfg.publish.version}.zip",
    log:
        "<logs>/package.log",
    benchmark:
        "<benchmarks>/package.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        *code("package"),
        name=cfg.run,
    message:
        "Packing the dataset into one archive"
    script:
        "../scripts/package.py"


# A patch deleted or altered by hand is noticed by nobody but this rule: `snakemake verify --forcerun verify`.
rule verify:
    input:
        lists=DATASET_LISTS,
        index="<results>/dataset/index.parquet",
        label_quality="<results>/dataset/labels.json",
        splits="<results>/dataset/splits.csv",
        sums="<results>/dataset/SHA256SUMS",
        measured=MEASURED,
        grid="<results>/grid/grid.json",
    output:
        "<results>/verify.json",
    log:
        "<logs>/verify.log",
    benchmark:
        "<benchmarks>/verify.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 2
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        *code("verify"),
        years=cfg.year_names,
        country=cfg.country,
        run=cfg.run,
        gates=cfg.labels.gates.model_dump(),
    message:
        "Verifying the dataset"
    script:
        "../scripts/verify.py"


# The part of the doctor that takes longest, for a year: it needs nothing but the patches, and runs while the documents are written.
rule contradictions:
    input:
        lists=expand("<results>/dataset/{{year}}/{kind}.sha256", kind=["IMAGE", "MASK"]),
        measured=expand("<results>/measured/{{year}}/{block}/{kind}.parquet", block=cfg.blocks, kind=["IMAGE", "MASK"]),
    output:
        "<results>/measured/{year}/contradictions.parquet",
    log:
        "<logs>/contradictions/{year}.log",
    benchmark:
        "<benchmarks>/contradictions/{year}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=30,
    params:
        *code("contradictions"),
    message:
        "Comparing the labels of {wildcards.year} with the images"
    script:
        "../scripts/contradictions.py"


# What a careful reader would find; it stops nothing: what it finds stands on its page and in the report.
rule doctor:
    input:
        sums="<results>/dataset/SHA256SUMS",
        measured=MEASURED,
        contradictions=expand("<results>/measured/{year}/contradictions.parquet", year=cfg.year_names),
    output:
        json="<results>/doctor.json",
        page="<results>/doctor.html",
    log:
        "<logs>/doctor.log",
    benchmark:
        "<benchmarks>/doctor.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 2
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        *code("doctor"),
        limits=parameters(cfg.doctor, Doctor),
        title=lambda wildcards: cfg.publish.title or cfg.run,
    message:
        "Examining the dataset"
    script:
        "../scripts/doctor.py"
