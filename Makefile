# Everything that a person or CI does with this repository. Needs Python 3.11+ with venv, make and git; nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-crash test-fuzz lint format proto lock bench bench-ci bench-search bench-search-slow \
	bench-compare baseline accuracy calibrate-check chimeric finger-accuracy finger-identification clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(STAMP)  ## Install everything into .venv, and the face pack into the user's cache

$(STAMP): requirements.lock pyproject.toml scripts/check_python.py
	$(PYTHON) scripts/check_python.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/ambis models fetch
	@touch $@

demo: install  ## Start a server, enrol, identify, restart, identify again (synthetic fingers and irises)
	$(BIN)/python -m enrollment.demo

test: install  ## Run the test suite
	$(BIN)/python -m pytest

test-crash: install  ## Kill a real server at random moments of bulk loads
	$(BIN)/python -m pytest -m crash

test-fuzz: install  ## Throw hostile input at parsers and server
	$(BIN)/python -m pytest -m fuzz

lint: install  ## ruff, mypy --strict, buf, and generated code fresh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/generate_proto.py --check
	cd proto && ../$(BIN)/buf lint

format: install  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: install  ## Generate the Python of the contract
	$(BIN)/python scripts/generate_proto.py

lock:  ## Write requirements.lock anew (needs uv)
	uv pip compile pyproject.toml --extra dev --generate-hashes --universal --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --output-file requirements.lock

bench: install  ## Run all benchmarks and write JSON into benchmarks/results
	$(BIN)/python -m benchmarks.run

bench-ci: install  ## The same at small sizes; fails where a ratio falls below half of benchmarks/baseline.json
	$(BIN)/python -m benchmarks.run --small --compare

bench-search: install  ## Searches (1:N) at full size, up to a million people: 40 minutes, 16 GiB
	$(BIN)/python -m benchmarks.run --search

bench-search-slow: install  ## Two million people, and ten minutes of enrolling while searching
	$(BIN)/python -m benchmarks.run --slow

# The two files are goals for make, too: they are there, and nothing has to be done for them.
bench-compare: install  ## `make bench-compare OLD.json NEW.json`: fails where a ratio fell by more than 15 %
	$(BIN)/python -m benchmarks.compare --against $(or $(OLD),$(word 1,$(RUNS)),OLD.json) \
		$(or $(NEW),$(word 2,$(RUNS)),NEW.json)

ifneq ($(filter bench-compare,$(MAKECMDGOALS)),)
RUNS := $(filter %.json,$(MAKECMDGOALS))
$(RUNS): ;
endif

baseline: install  ## Write benchmarks/baseline.json from a run at small sizes
	$(BIN)/python -m benchmarks.run --small --write-baseline

accuracy: install  ## Load real samples through the server and print rank-1 hit rates (needs the folder of real samples)
	$(BIN)/python -m benchmarks.fit_calibrations --half build/calibrations
	$(BIN)/python -m benchmarks.bulk_load --calibrations build/calibrations

calibrate-check: install  ## Do scores mean what they say for people not fitted on? Fails where not (needs real samples)
	$(BIN)/python -m benchmarks.calibrate_check

chimeric: install  ## Fusion on virtual people through the server (needs the folder of real samples)
	$(BIN)/python -m benchmarks.chimeric

finger-accuracy: install  ## Fingerprint verification beside mindtct + bozorth3 (needs the folder of real samples)
	$(BIN)/python -m benchmarks.finger_accuracy

finger-identification: install  ## One finger and two among 10,000, most of them synthetic (needs the real samples)
	$(BIN)/python -m benchmarks.finger_identification

clean:  ## Remove the virtual environment and caches
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis
