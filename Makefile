# Two commands for a fresh machine with CPython 3.12+ and pip:
#   make demo   the shop's tests, a simulated week, then its workers at work (SQLite, no server needed)
#   make test   everything CI runs: ruff, mypy, import-linter, the tests on Django 6.1 and 6.0
.PHONY: demo test lint types imports tests tests-django60 benchmarks benchmarks-database format clean

PYTHON ?= $(shell for name in python3.13 python3.12 python3.14 python3 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo "$$name" && break; done)
VENV := .venv
VENV60 := .venv-django60
BIN := $(VENV)/bin
# Tests spread over this many processes.
WORKERS ?= 2

# The driver of MariaDB is compiled: where its headers are not installed those tests are skipped,
# and in CI, where .ci/run installs them, its installation may not fail.
MYSQL := $(if $(CI),--group mysql,$(shell command -v mariadb_config mysql_config >/dev/null && echo --group mysql))

$(if $(PYTHON),,$(error No CPython 3.12 or newer was found. Install one, or name it: make PYTHON=/path/to/python))

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[testing]' --group dev $(MYSQL)
	touch $@

# The same tests on the oldest Django that is supported.
$(VENV60)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV60)
	sed 's/^Django==.*/Django==6.0.10/' constraints.txt > $(VENV60)/constraints.txt
	$(VENV60)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip
	$(VENV60)/bin/python -m pip install --quiet --constraint $(VENV60)/constraints.txt --editable '.[testing]' --group test $(MYSQL)
	touch $@

demo: $(VENV)/.installed
	cd examples/shop && ../../$(BIN)/python -m pytest -q
	cd examples/shop && ../../$(BIN)/python manage.py simulate_week
	cd examples/shop && ../../$(BIN)/python manage.py work_for_a_moment

test: lint types imports tests tests-django60

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

imports: $(VENV)/.installed
	$(BIN)/lint-imports

tests: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(WORKERS)
	TESTS_DATABASE=postgresql $(BIN)/python -m pytest -n $(WORKERS) tests/testing tests/database tests/faults
	TESTS_DATABASE=mariadb $(BIN)/python -m pytest -n $(WORKERS) tests/database tests/faults
	$(BIN)/python -m pytest -n $(WORKERS) -o tasks_mode=database tests/testing/test_queue_assertions.py \
		tests/testing/test_queue_running.py tests/testing/test_queue_time.py tests/testing/test_queue_transactions.py
	cd examples/shop && ../../$(BIN)/python -m pytest -q

# Without the tests of real worker processes, which look at no name of Django's that has changed.
tests-django60: $(VENV60)/.installed
	$(VENV60)/bin/python -m pytest -n $(WORKERS) --ignore tests/faults --ignore tests/database/worker
	cd examples/shop && ../../$(VENV60)/bin/python -m pytest -q

benchmarks: $(VENV)/.installed
	$(BIN)/python -m benchmarks recording

# Our Database backend beside its rivals, on PostgreSQL, MariaDB, SQLite and Redis of this machine.
benchmarks-database: $(VENV)/.installed
	$(BIN)/python -m benchmarks database

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV60) .venv-benchmarks .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
