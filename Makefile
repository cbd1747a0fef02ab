# make run    sets everything up and opens the window
# make test   sets everything up and runs every check and test
# make package        builds the bundle, a .deb, a .tar.xz and a .tar.gz into dist/
# make package-test   installs, starts, tours and removes what was built
.PHONY: run test check lint types contracts tests tour screenshots package package-test clean
.DEFAULT_GOAL := run
PYTHON := .venv/bin/python

run:
	@packaging/set_up.sh run
	@$(PYTHON) -m app --tour-without-display tour $(ARGS)

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

# The engine's tests beside all others: two processes take half the time. With ARGS one runs what they name.
tests: export QT_QPA_PLATFORM := offscreen
tests:
ifdef ARGS
	$(PYTHON) -m pytest $(ARGS)
else
	@$(PYTHON) -m pytest tests/inference > engine-tests.log 2>&1 & engine=$$!; \
	trap 'kill $$engine; exit 130' INT TERM; \
	$(PYTHON) -m pytest --ignore tests/inference; others=$$?; \
	wait $$engine; engine=$$?; cat engine-tests.log; exit $$((others | engine))
endif

families:  # every family of models, everything; writes docs/families.md
	$(PYTHON) -m pytest -q tests/inference/families --families-table docs/families.md $(ARGS)

tour:
	@packaging/set_up.sh run
	@QT_QPA_PLATFORM=offscreen $(PYTHON) -m app --tour tour

screenshots:  # the README's pictures, from the tour
	@packaging/set_up.sh run
	$(PYTHON) packaging/screenshots.py

package:
	@packaging/set_up.sh package
	$(PYTHON) packaging/bundle/build.py

package-test:
	$(PYTHON) packaging/bundle/try_out.py

clean:
	rm -rf .venv build dist tour *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
