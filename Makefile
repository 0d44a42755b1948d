# Every target sets up .venv when it is missing or older than pyproject.toml or constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: demo network test check test-slow selftest bench clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/unlearn-audit demo --out out/demo

# torch: on Linux the index of PyTorch's CPU builds spares gigabytes (PIP_EXTRA_INDEX_URL).
network: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,network]'
	$(BIN)/unlearn-audit run examples/plans/network.toml --out out/network || test $$? -eq 1
	$(BIN)/python examples/network_difficulty.py out/network/report.json out/network/difficulty.svg

test: $(STAMP)
	$(BIN)/python -m pytest -n 2

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m slow
	$(BIN)/python benchmarks/auditor_statistics.py --out benchmarks/results/statistics.md

selftest: $(STAMP)
	$(BIN)/unlearn-audit selftest --out out/selftest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python benchmarks/sampling.py
	$(BIN)/python benchmarks/gaussian_pair.py
	$(BIN)/python benchmarks/bounds.py

clean:
	rm -rf $(VENV) out dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
