# `make help` lists what there is. Every target sets up what it needs.
VENV ?= .venv
BIN := $(VENV)/bin
# Half as many test processes again as cores: most tests wait for other processes.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo test crash check bench bench-growth docs fix clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo  ## a web application with pictures and mails, until Ctrl-C; without a terminal, once to its end
	@$(BIN)/python -m examples

test: $(VENV)/.dev  ## run all tests
	@scripts/peers
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

crash: $(VENV)/.dev  ## kill, cut and swallow for half an hour, with the numbers the docs promise
	@scripts/peers
	@$(BIN)/python scripts/crash.py

check: $(VENV)/.dev  ## lint, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.dev  ## celeriac beside Celery 5.7, same tasks, same run
	@$(BIN)/python -m bench

bench-growth: $(VENV)/.dev  ## how costs grow with backlog, queues, payload, delayed tasks; 20 minutes
	@scripts/peers
	@$(BIN)/python -m bench.growth

docs: $(VENV)/.dev  ## build the documentation, docs/_build/html/index.html
	@$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html
	@echo "docs/_build/html/index.html"

fix: $(VENV)/.dev  ## mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:  ## remove everything that was built
	@rm -rf $(VENV) .peers .demo .studio dist docs/_build bench/results .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.demo: pyproject.toml scripts/setup
	@scripts/setup $(VENV) demo
	@touch $@

$(VENV)/.dev: pyproject.toml scripts/setup
	@scripts/setup $(VENV) dev
	@touch $@ $(VENV)/.demo
