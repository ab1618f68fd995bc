# make book   execute the notebooks that changed and build the site
#             NOTEBOOK=ml_cpc  re-execute this one in any case;  PROFILE=full  at paper scale
# make test   prove it: every check of the package and of the built book
# make lab    open a page in JupyterLab: PAGE=ml_cpc
# make editions  the whole book as PDF and EPUB, from the site; needs Chromium
# make proofs  let Rocq check the proofs again; make book and make test do not need Rocq
# Both create .venv from requirements.lock first. Needed: Python 3.11 or newer, make and git.

PROFILE ?= quick
NOTEBOOK ?=
PAGE ?= mutual_information
PYTHON ?= python3 python3.13 python3.12 python3.11
BIN := .venv/bin

export OMP_NUM_THREADS := 1

.PHONY: book test lab course student slides editions proofs bench peers reference golden lock clean

book: .venv/stamp
	@$(BIN)/python book/_tools/build.py --profile '$(PROFILE)' --notebook '$(NOTEBOOK)'

# The site must stand first: the tests read it. Notebooks are run again by nbval and compared.
test: .venv/stamp
	@$(BIN)/python book/_tools/build.py
	@echo "the proofs in Rocq are not compiled here: make proofs does that"
	$(BIN)/python -m pytest -n 2 --dist loadscope \
		--nbval --nbval-current-env --nbval-cell-timeout=600 --durations=25 tests

# What a lecturer needs, in book/_build/course: slides, notebooks for students, instructors, nbgrader,
# and the pages Teach it, Glossary and Wrong pictures. Slides show the figures of the built book.
course: student slides
	@$(BIN)/python book/_tools/course.py

student: .venv/stamp
	@$(BIN)/python book/_tools/classroom.py

slides: .venv/stamp
	@$(BIN)/python book/_tools/slides.py --measure

# A copy of the page to work in; JupyterLab is not in the lock, so it comes with the first call.
lab: .venv/stamp
	@test -f 'notebooks/$(PAGE).md' || { echo "error: no page $(PAGE); pages:" \
		$$(basename -s .md notebooks/*.md); exit 1; }
	@test -x $(BIN)/jupyter-lab || $(BIN)/python -m pip install --quiet jupyterlab
	@mkdir -p book/_build/lab
	@test -f 'book/_build/lab/$(PAGE).ipynb' || \
		$(BIN)/jupytext --quiet --to ipynb --output 'book/_build/lab/$(PAGE).ipynb' 'notebooks/$(PAGE).md'
	MLCPC_RESULTS='$(CURDIR)/results' $(BIN)/jupyter-lab 'book/_build/lab/$(PAGE).ipynb'

editions: .venv/stamp
	@$(BIN)/python book/_tools/build.py
	@$(BIN)/python book/_tools/editions.py

# Installs Rocq on Debian and Ubuntu if it may, else says what is missing. Needs no .venv.
proofs:
	@python3 proofs/build.py

# Time and memory on a quiet machine: benchmarks/README.md says what is compared.
bench: .venv/stamp
	$(BIN)/python benchmarks/allpairs.py
	$(BIN)/python benchmarks/staircase.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/estimation.py

# The losses inside other libraries, each in its own trainer; an environment of its own, since some
# wheels ask for another torch than the lock.
peers: .venv-peers/stamp
	.venv-peers/bin/python -m pytest -q tests/test_integrations.py
	.venv-peers/bin/python benchmarks/integrations.py

.venv-peers/stamp: requirements.lock pyproject.toml
	$(firstword $(PYTHON)) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet "$$(grep '^torch==' requirements.lock)" pytest
	@.venv-peers/bin/python -m pip install --quiet "$$(grep '^torch==' requirements.lock)" \
		$$(.venv-peers/bin/python -c "import tomllib; \
		print(*tomllib.load(open('pyproject.toml', 'rb'))['dependency-groups']['peers'])")
	@.venv-peers/bin/python -m pip install --quiet --editable .
	@touch $@

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

# After a wanted change of an experiment's numbers, and of its version.
golden: .venv/stamp
	$(BIN)/python tests/golden.py

# Newest versions that fit pyproject.toml. Read the diff, then run make test.
lock:
	rm -rf .venv
	$(firstword $(PYTHON)) -m venv .venv
	$(BIN)/python -m pip install --quiet '.[book,experiments,workflow,test]'
	$(BIN)/python -m pip freeze --all --exclude mlcpc --exclude pip \
		| sed 's/+[a-z0-9]*$$//' > requirements.lock

clean:
	rm -rf .snakemake book/_build book/_static/records book/chapters book/generated
