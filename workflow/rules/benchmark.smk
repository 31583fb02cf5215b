# The paper's experiments and their controls on the finished dataset, on demand: `snakemake benchmark` makes benchmark/table.html.
include: "common.smk"


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
        dataset=cfg.benchmark.dataset,
        radiometry=cfg.benchmark.radiometry,
        images=lambda wildcards: [] if OWN_DATASET else images_digest(cfg.benchmark.dataset),
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
    wildcard_constraints:
        row=CPU_ROWS,
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
    wildcard_constraints:
        row=CPU_ROWS,
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


# Networks need PyTorch (envs/setup-deep.sh) and a GPU. Killed, they go on after the last epoch.
rule benchmark_train:
    input:
        pack="<results>/benchmark/pack/pack.json",
        files=PACK,
        split="<results>/benchmark/splits/{split}.parquet",
    output:
        model="<results>/benchmark/{row}/{variant}/{split}/{seed}/model.joblib",
        about="<results>/benchmark/{row}/{variant}/{split}/{seed}/fitted.json",
    log:
        "<logs>/benchmark_train/{row}-{variant}-{split}-{seed}.log",
    benchmark:
        "<benchmarks>/benchmark_train/{row}-{variant}-{split}-{seed}.tsv"
    wildcard_constraints:
        row=DEEP_ROWS,
    conda:
        "../../envs/smallmines.yaml"
    threads: threads_of
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
        gpu=1,
    params:
        *code("benchmark_train"),
        row=lambda wildcards: row_of(wildcards).values,
        stop=cfg.benchmark.stop_on_findings,
        allow_unpretrained=lambda wildcards: wildcards.row.endswith("_unpretrained"),
        pins=f"resources/user/{cfg.run}/weights.json",
        record=lambda wildcards: f"logs/{cfg.run}/benchmark_train/{'-'.join(wildcards)}",
    message:
        "Training {wildcards.row} ({wildcards.variant}) on {wildcards.split}, seed {wildcards.seed}"
    script:
        "../scripts/benchmark_train.py"


rule benchmark_predict_deep:
    input:
        pack="<results>/benchmark/pack/pack.json",
        files=PACK,
        split="<results>/benchmark/splits/{split}.parquet",
        model="<results>/benchmark/{row}/{variant}/{split}/{seed}/model.joblib",
    output:
        "<results>/benchmark/{row}/{variant}/{split}/{seed}/probabilities.npy",
    log:
        "<logs>/benchmark_predict_deep/{row}-{variant}-{split}-{seed}.log",
    benchmark:
        "<benchmarks>/benchmark_predict_deep/{row}-{variant}-{split}-{seed}.tsv"
    wildcard_constraints:
        row=DEEP_ROWS,
    conda:
        "../../envs/smallmines.yaml"
    threads: threads_of
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
        gpu=1,
    params:
        *code("benchmark_predict_deep"),
    message:
        "Predicting with {wildcards.row} ({wildcards.variant}) on {wildcards.split}, seed {wildcards.seed}"
    script:
        "../scripts/benchmark_predict_deep.py"


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


# `table` has the rows that need no GPU, `table_deep` all.
rule benchmark_table:
    input:
        pack="<results>/benchmark/pack/pack.json",
        files=PACK,
        splits=expand("<results>/benchmark/splits/{split}.parquet", split=BENCHMARK_SPLITS),
        counts=lambda wildcards: expand("<results>/benchmark/{fitted}/counts.parquet", fitted=fits_of(wildcards.table)),
        scores=lambda wildcards: expand("<results>/benchmark/{fitted}/score.json", fitted=fits_of(wildcards.table)),
        probabilities=lambda wildcards: expand("<results>/benchmark/{fitted}/probabilities.npy", fitted=fits_of(wildcards.table)),
    output:
        table="<results>/benchmark/{table}.parquet",
        page="<results>/benchmark/{table}.html",
    log:
        "<logs>/benchmark_{table}.log",
    benchmark:
        "<benchmarks>/benchmark_{table}.tsv"
    wildcard_constraints:
        table="table|table_deep",
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        *code("benchmark_table"),
        fitted=lambda wildcards: fits_of(wildcards.table),
        rows=[[row.name, row.variant, row.title, row.note, row.published_iou, row.prompted] for row in BENCHMARK_ROWS.values()],
        title=cfg.publish.title or cfg.run,
    message:
        "Writing the table of the benchmark"
    script:
        "../scripts/benchmark_table.py"


rule benchmark:
    input:
        "<results>/benchmark/table.html",


rule benchmark_deep:
    input:
        "<results>/benchmark/table_deep.html",
