# The dataset as Parquet shards, on demand: as large as the dataset. `smallmines publish huggingface` sends them to the Hub.
include: "common.smk"


rule huggingface:
    input:
        sums="<results>/dataset/SHA256SUMS",
        verified="<results>/verify.json",
        statistics=expand("<results>/statistics/{year}.json", year=cfg.year_names),
    output:
        "<results>/huggingface/README.md",
        "<results>/huggingface/statistics.json",
        sums="<results>/huggingface/SHA256SUMS",
    log:
        "<logs>/huggingface.log",
    benchmark:
        "<benchmarks>/huggingface.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        *code("huggingface"),
        config=parameters(cfg.splits, Splits),
    message:
        "Writing the dataset as shards for Hugging Face"
    script:
        "../scripts/huggingface.py"
