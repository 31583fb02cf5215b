# The paper's experiments and their controls on the finished dataset, on demand: `snakemake benchmark` makes benchmark/table.html.
include: "common.smk"


from smallmines.benchmark.split_files import splits_of
from smallmines.config.benchmark import read_rows

try:
    ROWS = {(row.name, row.variant): row for row in read_rows(f"{workflow.basedir}/config/benchmark", cfg.benchmark.rows)}
    SPLITS = splits_of(cfg.benchmark.splits, cfg.year_names, cfg.blocks, cfg.benchmark.dataset)
except UserError as error:
    sys.exit(str(error))

FITTED = [
    f"{row.name}/{row.variant}/{split}/{seed}"
    for row in ROWS.values()
    for split in SPLITS
    for seed in (cfg.benchmark.seeds if row.seeded else cfg.benchmark.seeds[:1])
]
OWN_DATASET = cfg.benchmark.dataset is None
PACK = [f"<results>/benchmark/pack/{name}" for name in ("s2.npy", "s1.npy", "dem.npy", "mask.npy", "tiles.parquet", "pack.json")]


def row_of(wildcards):
    """Return the row and variant of a job."""
    return ROWS[wildcards.row, wildcards.variant]


def memory_of(wildcards):
    """Return the memory of a job of a row in MB."""
    return row_of(wildcards).memory_mb


def threads_of(wildcards):
    """Return the threads of a job of a row."""
    return row_of(wildcards).threads


def minutes_of(wildcards):
    """Return the run time of a job of a row in minutes."""
    return row_of(wildcards).minutes


def findings_file():
    """Return the report of the doctor: that of the run, or the one given with another dataset."""
    return "<results>/doctor.json" if OWN_DATASET else ([cfg.benchmark.doctor] if cfg.benchmark.doctor else [])


rule pack:
    input:
        sums="<results>/dataset/SHA256SUMS" if OWN_DATASET else [],
        verified="<results>/verify.json" if OWN_DATASET else [],
        doctor=findings_file(),
    output:
        PACK,
    log:
        "<logs>/pack.log",
    benchmark:
        "<benchmarks>/pack.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        *code("pack"),
        dataset=cfg.benchmark.dataset or f"results/{cfg.run}/dataset",
        images=[] if OWN_DATASET else images_digest(cfg.benchmark.dataset),
    message:
        "Packing the dataset for the benchmark"
    script:
        "../scripts/pack.py"


rule benchmark_split:
    input:
        pack="<results>/benchmark/pack/tiles.parquet",
        files=PACK,
    output:
        "<results>/benchmark/splits/{split}.parquet",
    log:
        "<logs>/benchmark_split/{split}.log",
    benchmark:
        "<benchmarks>/benchmark_split/{split}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        *code("benchmark_split"),
        seed=cfg.benchmark.split_seed,
        released=cfg.benchmark.released_splits,
    message:
        "Splitting the dataset for the benchmark: {wildcards.split}"
    script:
        "../scripts/benchmark_split.py"


rule benchmark_fit:
    input:
        pack="<results>/benchmark/pack/pack.json",
        files=PACK,
        split="<results>/benchmark/splits/{split}.parquet",
    output:
        model="<results>/benchmark/{row}/{variant}/{split}/{seed}/model.joblib",
        about="<results>/benchmark/{row}/{variant}/{split}/{seed}/fitted.json",
    log:
        "<logs>/benchmark_fit/{row}-{variant}-{split}-{seed}.log",
    benchmark:
        "<benchmarks>/benchmark_fit/{row}-{variant}-{split}-{seed}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: threads_of
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
    params:
        *code("benchmark_fit"),
        row=lambda wildcards: row_of(wildcards).values,
        stop=cfg.benchmark.stop_on_findings,
    message:
        "Fitting {wildcards.row} ({wildcards.variant}) on {wildcards.split}, seed {wildcards.seed}"
    script:
        "../scripts/benchmark_fit.py"


rule benchmark_predict:
    input:
        pack="<results>/benchmark/pack/pack.json",
        files=PACK,
        split="<results>/benchmark/splits/{split}.parquet",
        model="<results>/benchmark/{row}/{variant}/{split}/{seed}/model.joblib",
    output:
        "<results>/benchmark/{row}/{variant}/{split}/{seed}/probabilities.npy",
    log:
        "<logs>/benchmark_predict/{row}-{variant}-{split}-{seed}.log",
    benchmark:
        "<benchmarks>/benchmark_predict/{row}-{variant}-{split}-{seed}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: threads_of
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
    params:
        *code("benchmark_predict"),
    message:
        "Predicting with {wildcards.row} ({wildcards.variant}) on {wildcards.split}, seed {wildcards.seed}"
    script:
        "../scripts/benchmark_predict.py"


rule benchmark_score:
    input:
        pack="<results>/benchmark/pack/pack.json",
        files=PACK,
        split="<results>/benchmark/splits/{split}.parquet",
        fitted="<results>/benchmark/{row}/{variant}/{split}/{seed}/fitted.json",
        probabilities="<results>/benchmark/{row}/{variant}/{split}/{seed}/probabilities.npy",
    output:
        counts="<results>/benchmark/{row}/{variant}/{split}/{seed}/counts.parquet",
        about="<results>/benchmark/{row}/{variant}/{split}/{seed}/score.json",
    log:
        "<logs>/benchmark_score/{row}-{variant}-{split}-{seed}.log",
    benchmark:
        "<benchmarks>/benchmark_score/{row}-{variant}-{split}-{seed}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        *code("benchmark_score"),
    message:
        "Scoring {wildcards.row} ({wildcards.variant}) on {wildcards.split}, seed {wildcards.seed}"
    script:
        "../scripts/benchmark_score.py"


rule benchmark_table:
    input:
        pack="<results>/benchmark/pack/pack.json",
        files=PACK,
        splits=expand("<results>/benchmark/splits/{split}.parquet", split=SPLITS),
        counts=expand("<results>/benchmark/{fitted}/counts.parquet", fitted=FITTED),
        scores=expand("<results>/benchmark/{fitted}/score.json", fitted=FITTED),
        probabilities=expand("<results>/benchmark/{fitted}/probabilities.npy", fitted=FITTED),
    output:
        table="<results>/benchmark/table.parquet",
        page="<results>/benchmark/table.html",
    log:
        "<logs>/benchmark_table.log",
    benchmark:
        "<benchmarks>/benchmark_table.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        *code("benchmark_table"),
        fitted=FITTED,
        rows=[[row.name, row.variant, row.title, row.note, row.published_iou] for row in ROWS.values()],
        title=cfg.publish.title or cfg.run,
    message:
        "Writing the table of the benchmark"
    script:
        "../scripts/benchmark_table.py"


rule benchmark:
    input:
        "<results>/benchmark/table.html",
