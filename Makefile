# Everything a developer types. Each target does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
# For example: make test PYTEST="-n 0 -k histogram"
PYTEST ?=
# A worker a core, of one thread each.
TESTS = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto
# For example: make reproduce-tables SUITE=paper RESULTS=mine SWEEP_OPTIONS="task.path=/data/imagenet"
SUITE ?= desk
RESULTS ?= results/$(SUITE)
SWEEP_OPTIONS ?=
GATE_NETWORKS ?= resnet20_fashion,minilm_trec,jasper_mini
SWEEP = suite=$(SUITE) results_dir=$(RESULTS) retry=failed $(SWEEP_OPTIONS)

.DEFAULT_GOAL := help
.PHONY: help install check format test test-slow test-all reproduce-tables gate bench docs clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 14

install: $(STAMP)  ## make .venv with the package and its tools (5.5 GB, mostly torch)

# Done again when the dependencies change. The stamp comes last, so an interrupted install is not taken for a done one.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $(STAMP)

check: $(STAMP)  ## lint, check the format, check the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## format the code and repair what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(STAMP)  ## run the tests, without the slow ones
	$(TESTS) $(PYTEST)

test-slow: $(STAMP)  ## run the slow tests only
	$(TESTS) -m slow $(PYTEST)

test-all: $(STAMP)  ## run all tests
	$(TESTS) -m "slow or not slow" $(PYTEST)

# Table 4's cells are among those of table 3. A cell that failed keeps no other from being measured and reported.
reproduce-tables: $(STAMP)  ## run the desk suite and draw the tables, figures and page (15 to 30 minutes)
	@$(BIN)/quantbench run experiment=table3 $(SWEEP); table3=$$?; [ $$table3 -lt 128 ] || exit $$table3; \
	$(BIN)/quantbench run experiment=table5 $(SWEEP); table5=$$?; [ $$table5 -lt 128 ] || exit $$table5; \
	$(BIN)/quantbench report results_dir=$(RESULTS) && [ $$table3 -eq 0 ] && [ $$table5 -eq 0 ]

# Two recipes of three networks; the rows of the baseline that are not measured again are listed. No row is there from
# before. Float passes that were kept may stay: their keys have the code, versions, device and checksums that made them.
gate: $(STAMP)  ## measure a part of the desk suite again and check it against results/desk/results.csv
	rm -rf build/gate
	$(BIN)/quantbench run -m experiment=table5 suite=desk model=$(GATE_NETWORKS) calib=max,percentile_99_99 results_dir=build/gate
	$(BIN)/quantbench check build/gate --baseline results/desk/results.csv --missing-passes --undecided-passes

bench: $(STAMP)  ## measure speed and memory as ratios, side by side in one run
	$(BIN)/python scripts/bench.py

docs: $(STAMP)  ## write docs/overrides.md from conf/, and the figures of README and docs/ from results/
	$(BIN)/python scripts/override_table.py
	$(BIN)/python scripts/readme_tables.py
	$(BIN)/python scripts/result_tables.py

clean:  ## remove .venv, caches and built packages
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
