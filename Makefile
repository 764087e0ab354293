# Every target makes what environment it lacks. Paths are relative, so that a folder with a space in its name will do.
# Variables: PYTHON, TORCH_INDEX (see .ci/environment) · run: PORT, DATA · demo: SAMPLES, AUTHOR · test: ARGS

MAKEFLAGS += --no-print-directory
export PYTHON TORCH_INDEX PORT DATA SAMPLES AUTHOR
python = .venv/bin/python

.PHONY: help demo test run benchmarks check format messages clean runtime development
.NOTPARALLEL:

help: ## this list
	@awk -F ' *## *' '/^[a-z]+:.*## / { sub(/:.*/, "", $$1); printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: runtime ## the main job, start to finish; SAMPLES=folder, or SAMPLES=file.jsonl AUTHOR=name, for your own texts
	@exec $(python) -m app.demo $${SAMPLES:+--samples "$$SAMPLES"} $${AUTHOR:+--author "$$AUTHOR"}

test: check ## the checks and the whole test suite; ARGS="-k words" for a part of it
	@exec $(python) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

run: runtime ## the whole platform on this machine; PORT=8010 and DATA=folder to choose others
	@exec $(python) -m app.embedded $${DATA:+--data "$$DATA"} $${PORT:+--port "$$PORT"}

benchmarks: ## what the measured comparisons with peers need; then .venv/bin/python -m benchmarks.likeness --help
	@sh .ci/environment benchmarks

check: development ## formatter, linter, strict types, the import rule
	@$(python) -m ruff format --check --quiet . || { echo "make format mends this" >&2; exit 1; }
	@$(python) -m ruff check --quiet .
	@$(python) -m mypy
	@$(python) -m pytest tests/test_architecture.py

format: development ## bring the code into its form
	@$(python) -m ruff format .
	@$(python) -m ruff check --fix .

messages: development ## write the catalogue of all that the pages say, for translators
	@$(python) -m app.web.messages

clean: ## remove what make made here, except data/
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

runtime:
	@sh .ci/environment runtime

development:
	@sh .ci/environment development
