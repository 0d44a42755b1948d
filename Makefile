# Every target sets up .venv when it is missing or older than pyproject.toml or constraints.txt: with what the package
# needs, and for developing with the tools and torch too.
PYTHON ?= python3
# PyPI's torch for Linux brings CUDA, gigabytes of it. Of two builds of one version pip takes the one named "+cpu", so an
# index that has it is enough: this one, or pip's own PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS.
#     make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
# Python compiles what is imported; to compile every file of every package takes half of the time of an installation.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
INSTALLED := $(VENV)/.installed
STAMP := $(VENV)/.ready
DOCS := $(VENV)/.docs

# Tests start hundreds of processes: what one of them compiled is kept for the others, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo network test check test-slow selftest bench docs axe clean

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) --editable .
	touch $@

# Into what is installed already, or all at once.
$(STAMP): pyproject.toml constraints.txt
ifeq ($(TORCH_INDEX)$(PIP_EXTRA_INDEX_URL)$(PIP_FIND_LINKS),)
	@echo 'torch: no index is set, so PyPI gives it (gigabytes on Linux); TORCH_INDEX=... takes the CPU build'
endif
	@test $(INSTALLED) -nt pyproject.toml && test $(INSTALLED) -nt constraints.txt || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) $(TORCH_INDEX:%=--extra-index-url %) --editable '.[test]'
	@$(BIN)/python -c 'from importlib.metadata import version as of; \
		print("torch", of("torch"), "(the CPU build)" if "+cpu" in of("torch") else "")'
	touch $(INSTALLED) $@

demo: $(INSTALLED)
	$(BIN)/unlearn-audit demo --out out/demo

network: $(STAMP)
	$(BIN)/unlearn-audit run examples/plans/network.toml --out out/network || test $$? -eq 1
	$(BIN)/python examples/network_difficulty.py out/network/report.json out/network/difficulty.svg

# Two workers keep two cores busy: more threads of a BLAS would only wait for each other (a third more processor time).
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

test: $(STAMP)
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2

test-slow: $(STAMP)
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m slow
	$(BIN)/python benchmarks/auditor_statistics.py --out benchmarks/results/statistics.md

selftest: $(INSTALLED)
	$(BIN)/unlearn-audit selftest --out out/selftest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers 2
	$(BIN)/lint-imports

$(DOCS): $(STAMP)
	$(PIP) --editable '.[docs]'
	touch $@

# The documentation site, in out/docs/site/index.html: opens from the folder.
docs: $(DOCS)
	$(BIN)/python docs/site/build.py --out out/docs

# Its pages and those of reports as axe-core sees them, in Chromium; axe-core comes from npm, into out/.
AXE := out/axe/node_modules/axe-core/axe.min.js
axe: docs
	@if ! command -v npm >/dev/null || ! command -v chromium >/dev/null; then \
		echo 'axe: skipped, it needs npm and Chromium'; \
	elif ! { test -f $(AXE) || npm install --silent --no-audit --no-fund --prefix out/axe axe-core@4.14.1; }; then \
		echo 'axe: skipped, npm could not fetch axe-core'; \
	else \
		$(BIN)/python tests/e2e/accessibility.py $(AXE) $$(find out/docs/site -name '*.html'); \
	fi

bench: $(STAMP)
	$(BIN)/python benchmarks/sampling.py
	$(BIN)/python benchmarks/gaussian_pair.py
	$(BIN)/python benchmarks/bounds.py
	$(BIN)/python benchmarks/approximate_unlearning.py

clean:
	rm -rf $(VENV) out dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
