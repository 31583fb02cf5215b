# The published folder: patches of all blocks in the released layout, an index, and a check of it all.
include: "common.smk"


rule assemble:
    input:
        patches=expand("<results>/patches/{{year}}/{block}/{{kind}}", block=cfg.blocks),
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
rule quality:
    input:
        features=of_all("<results>/segments/{year}/{block}/features.parquet"),
        labels=of_all("<results>/labels/{year}/{block}.parquet"),
        masks=of_all("<results>/masks/{year}/{block}.tif"),
        events=ancient(OPINIONS["events"]),
        overlap=ancient(OPINIONS["overlap"]),
        design=ancient(OPINIONS["design"]),
        references=ancient(OPINIONS["references"]),
    output:
        labels="<results>/dataset/labels.json",
        points="<results>/dataset/accuracy_points.csv",
    log:
        "<logs>/quality.log",
    benchmark:
        "<benchmarks>/quality.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        *code("quality"),
        digest=events_digest(path for paths in OPINIONS.values() for path in paths),
        years=cfg.year_names,
        blocks=cfg.blocks,
        seed=cfg.labels.seed,
    message:
        "Measuring what the labels are worth"
    script:
        "../scripts/quality.py"


# Made once: a label edit moves no tile (`ancient`), nor does a new version of the code (a number stands for it).
# The frozen file is not ancient: Snakemake looks at params only where no job before this one runs, and masks may be made in the same run.
rule splits:
    input:
        masks=ancient(of_all("<results>/masks/{year}/{block}.tif")),
        frozen=only_file(f"resources/user/{cfg.run}", "splits", (".csv",)),
        grid="<results>/grid/grid.json",
    output:
        splits="<results>/dataset/splits.csv",
        report="<results>/splits.json",
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
        digest=[sha256(path) for path in only_file(f"resources/user/{cfg.run}", "splits", (".csv",))],
        years=cfg.year_names,
        blocks=cfg.blocks,
        config=cfg.splits.model_dump(mode="json"),
    message:
        "Splitting the tiles into train, val and test"
    script:
        "../scripts/splits.py"


rule index:
    input:
        masks=of_all("<results>/masks/{year}/{block}.tif"),
        s2=of_all("<results>/composites/{year}/{block}/s2.tif"),
        s1=of_all("<results>/composites/{year}/{block}/s1.tif"),
        source=of_all("<results>/composites/{year}/{block}/s2_source.tif"),
        clearness=of_all("<results>/composites/{year}/{block}/clear.tif"),
        segments=of_all("<results>/segments/{year}/{block}/segments.tif"),
        labels=of_all("<results>/labels/{year}/{block}.parquet"),
        dem=expand("<results>/composites/static/{block}/dem.tif", block=cfg.blocks),
        lists=expand(
            "<results>/dataset/{year}/{kind}.sha256",
            year=cfg.year_names,
            kind=["IMAGE", "MASK"],
        ),
        quality="<results>/dataset/labels.json",
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
    message:
        "Indexing the dataset"
    script:
        "../scripts/index.py"


# A patch deleted or altered by hand is noticed by nobody but this rule: `snakemake verify --forcerun verify`.
rule verify:
    input:
        lists=expand(
            "<results>/dataset/{year}/{kind}.sha256",
            year=cfg.year_names,
            kind=["IMAGE", "MASK"],
        ),
        index="<results>/dataset/index.parquet",
        quality="<results>/dataset/labels.json",
        splits="<results>/dataset/splits.csv",
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
