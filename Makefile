# make run    sets everything up and opens the window
# make test   sets everything up and runs every check and test
.PHONY: run test check lint types contracts tests tour clean
.DEFAULT_GOAL := run
PYTHON := .venv/bin/python

run:
	@packaging/set_up.sh run
	@$(PYTHON) -m app $(ARGS)

test:
	@packaging/set_up.sh test
	@$(MAKE) --no-print-directory lint types contracts tests

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy

contracts:
	.venv/bin/lint-imports

tests:
	QT_QPA_PLATFORM=offscreen $(PYTHON) -m pytest $(ARGS)

tour:
	@packaging/set_up.sh run
	@QT_QPA_PLATFORM=offscreen $(PYTHON) -m app --tour tour

clean:
	rm -rf .venv build dist tour *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
