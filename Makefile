# make book   execute the notebooks that changed and build the site
#             NOTEBOOK=05_ml_cpc  re-execute this one in any case;  PROFILE=full  at paper scale
# make test   prove it: every check of the package and of the built book
# Both create .venv from requirements.lock first. Needed: Python 3.11 or newer, make and git.

PROFILE ?= quick
NOTEBOOK ?=
PYTHON ?= python3 python3.13 python3.12 python3.11
BIN := .venv/bin

export OMP_NUM_THREADS := 1

.PHONY: book test bench reference lock clean

book: .venv/stamp
	@$(BIN)/python book/_tools/build.py --profile '$(PROFILE)' --notebook '$(NOTEBOOK)'

# The site must stand first: the tests read it. Notebooks are run again by nbval and compared.
test: .venv/stamp
	@$(BIN)/python book/_tools/build.py
	$(BIN)/python -m pytest -n 2 --dist loadscope \
		--nbval --nbval-current-env --nbval-cell-timeout=600 tests

# Time and memory on a quiet machine: benchmarks/README.md says what is compared.
bench: .venv/stamp
	$(BIN)/python benchmarks/allpairs.py
	$(BIN)/python benchmarks/staircase.py
	$(BIN)/python benchmarks/training.py

# After a wanted change of a notebook's output: make it the new reference, then read the diff.
reference: .venv/stamp
	@$(BIN)/python book/_tools/build.py
	@$(BIN)/python book/_tools/reference.py

.venv/stamp: requirements.lock pyproject.toml
	@python=; for candidate in $(PYTHON); do \
		if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
		then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "error: Python 3.11 or newer is needed; tried: $(PYTHON)." \
			"Name one with make PYTHON=/path/to/python"; exit 1; \
	fi; \
	echo "setting up .venv from requirements.lock with $$($$python --version)"; \
	$$python -m venv .venv
	@$(BIN)/python -m pip install --quiet -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Newest versions that fit pyproject.toml. Read the diff, then run make test.
lock:
	rm -rf .venv
	$(firstword $(PYTHON)) -m venv .venv
	$(BIN)/python -m pip install --quiet '.[book,experiments,workflow,test]'
	$(BIN)/python -m pip freeze --all --exclude mlcpc --exclude pip \
		| sed 's/+[a-z0-9]*$$//' > requirements.lock

clean:
	rm -rf .snakemake book/_build book/_static/records book/chapters book/generated
