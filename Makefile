# Two commands: `make run` opens the control room, `make test` checks everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: run demo test headless unit screen integration lint pictures snapshots truth bench engines faults hostile clean

run: $(VENV)/.installed ## open the control room: your configuration, or this machine
	@$(BIN)/sovtui

demo: $(VENV)/.installed ## open the scripted estate, where every key can be tried
	@$(BIN)/sovtui demo

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "making $(VENV) and installing sovtui (a minute or two the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

test: $(VENV)/.dev lint headless integration ## format, lint, types, import contracts, unit, screen and integration tests

lint: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

headless: $(VENV)/.dev ## unit and screen tests in one: what is collected once takes half as long to collect
	@$(BIN)/pytest -q -n auto -m "not integration"

unit: $(VENV)/.dev
	@$(BIN)/pytest -q -n auto -m "not integration and not screen"

screen: $(VENV)/.dev ## the control room, key by key, picture by picture
	@$(BIN)/pytest -q -n auto -m "screen and not integration"

integration: $(VENV)/.dev
	@sh tests/box/packages.sh
	@$(BIN)/pytest -q -n 4 --dist loadfile --no-loadscope-reorder -m integration --durations=15

truth: $(VENV)/.dev ## what sovtui claims of a box, and whether it is so, as a table; DEBIAN=13 or DEBIAN="12 13" for other releases
	@sh tests/box/packages.sh
	@$(BIN)/python -m tests.truth $(DEBIAN:%=--debian %)

pictures: $(VENV)/.dev ## draw screenshots/ anew
	@$(BIN)/python -m tests.pictures screenshots

snapshots: $(VENV)/.dev ## take anew what the screen's tests compare with; look at the diff
	@$(BIN)/python -m tests.snapshots

bench: $(VENV)/.dev ## what the screen costs, as a table: start, bytes, processor, memory, keys, and a key press to the first stop on a box
	@sh tests/box/packages.sh
	@$(BIN)/python -m tests.bench

engines: $(VENV)/.dev ## real llama.cpp, LiteLLM and vLLM: what sovtui shows beside what a client counted, as the README's table (half an hour, some GB)
	@$(BIN)/python -m tests.engines

faults: $(VENV)/.dev ## the fault tables: 300 switches with a fault injected into each, 240 faults of the link, and a box that dies
	@sh tests/box/packages.sh
	@$(BIN)/python -m tests.faults --count 300
	@$(BIN)/python -m tests.faults.link --count 160 --box 80
	@$(BIN)/python -m tests.faults.dead_box

hostile: $(VENV)/.dev ## 450 bad inputs of seven kinds given to the screen, as a table: how long keys waited, memory, the words shown; broken off, it goes on where it was (an hour)
	@sh tests/box/packages.sh
	@$(BIN)/python -m tests.hostile

clean:
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
