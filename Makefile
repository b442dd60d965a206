# The developer's menu. `make` prints it; what needs more than a line is in tools/.

VENV   ?= .venv
GROUP  ?= dev
PYTHON ?= $(shell tools/find-python)
FOR    ?=
T      ?= tests
REPORT ?= build/junit.xml
REPEAT ?= 1
JOBS   ?= 2
BIN     = $(VENV)/bin
PYTEST  = $(BIN)/python -m pytest
# Most tests wait for brokers and processes, so two files at a time. A file stays whole.
BESIDE  = -n $(JOBS) --dist loadfile --no-loadscope-reorder

# Types are checked in what tests stand on, too; the rest of the tests are read by people.
TYPED_TESTS = tests/brokers tests/conftest.py tests/faults/proxy.py tests/integration/test_brokers.py
KERNELS     = $(patsubst ext/streamproc/kernels/%.pyx,streamproc.kernels.%,$(wildcard ext/streamproc/kernels/*.pyx))

.DEFAULT_GOAL := help
.PHONY: help setup kernels brokers demo test test-unit test-sanitize test-e2e faults check fix bench bench-micro docs docs-check dist clean distclean

help: ## print this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv with all that is needed (PYTHON=python3.12, VENV=.venv-3.12)
	@test -n "$(PYTHON)"
	@$(PYTHON) tools/bootstrap.py $(VENV) $(GROUP)
	@$(BIN)/python tools/kernels.py

kernels: setup ## build the compiled kernels in place (STREAMPROC_CHECKED=1: with bounds checks)

brokers: setup ## get Kafka, RabbitMQ and Mosquitto for the tests
	@tools/brokers.sh $(BIN)/python

demo: setup ## run the main job, no broker needed (FOR=20s)
	$(BIN)/streamproc demo $(if $(FOR),--for $(FOR))

test: setup brokers check ## check, then all tests, on real brokers (T="tests/e2e -k kafka", JOBS=0)
	$(PYTEST) $(T) $(BESIDE) --junit-xml=$(REPORT)

test-unit: setup ## tests that need no broker
	$(PYTEST) $(T) $(BESIDE) -m "not integration and not e2e and not faults"

test-sanitize: setup ## kernel tests with bounds checks, AddressSanitizer and UBSan
	@tools/sanitize.sh $(BIN)/python

test-e2e: setup brokers ## end-to-end tests on real brokers, in their long form
	STREAMPROC_FULL=1 $(PYTEST) tests/e2e

faults: setup brokers ## what is lost or doubled when things break, in its long form (REPEAT=3)
	STREAMPROC_FULL=1 STREAMPROC_REPEAT=$(REPEAT) STREAMPROC_FAULTS_JSON=bench/results/faults.json \
		$(PYTEST) tests/faults

check: setup ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --strict --explicit-package-bases $(TYPED_TESTS)
	$(if $(KERNELS),PATH="$(abspath $(BIN)):$$PATH" cython-lint ext)
	$(if $(KERNELS),$(BIN)/stubtest --ignore-unused-allowlist --allowlist tools/stubtest.allow $(KERNELS))

fix: setup ## put right what lint and format can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup brokers ## measure, end to end
	$(BIN)/python -m bench.e2e

bench-micro: setup ## measure the kernels and other small things
	$(PYTEST) bench/micro --benchmark-only

docs: setup ## write the generated reference pages and the schema
	$(BIN)/streamproc docs

docs-check: docs ## fail if the generated pages in git are not what the code says
	git diff --exit-code -- docs/reference configs/schema.json

dist: setup ## sdist and wheel into dist/
	$(BIN)/python -m build

clean: ## remove what was built
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find streamproc ext -name '*.so' -delete -o -name '*.c' -delete

distclean: clean ## and the virtual environments and downloads
	rm -rf .venv .venv-* .cache
