# make demo   everything on a fresh machine: environment, zoo, training, test, pictures
# make test   everything CI runs
# make quick  under a minute: lint, floors, and the laws on tiny cases

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt # empty: the newest of everything, for example for another build of torch
EXTRAS ?= dev
OUT ?= out
WORKERS ?= 2 # of pytest

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CONSTRAINTS := $(strip $(CONSTRAINTS))
QUICK := $(addprefix tests/,test_house.py test_floors.py test_axes.py test_layout.py test_networks.py test_symmetry.py \
	test_relabel.py test_attention.py test_microbatch.py laws/test_symmetries_respected.py laws/test_the_tester.py)
PYTEST := $(BIN)/python -m pytest -n $(strip $(WORKERS))
PAGES := $(patsubst %.ipynb,docs/%.md,$(wildcard notebooks/*.ipynb))

.PHONY: env demo test quick format lint types notebooks docs unit bench constraints clean

env: $(STAMP)

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "make env needs Python 3.11 or newer with venv (Debian: python3-venv)"; exit 1; }
	@echo "installing into $(VENV) (some minutes the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e ".[$(EXTRAS)]"
	@touch $@

demo: env
	$(BIN)/neural-graphs demo --out $(OUT)/demo

# The closing line of pytest comes last.
test: lint types docs demo unit

format: env
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: env
	$(BIN)/mypy

# Notebooks are kept without outputs. They are run from top to bottom, as many at once as there are workers, and become
# pages of the documentation; one that stops or warns fails. A page is made anew when its notebook has changed.
notebooks: env
	@$(MAKE) --no-print-directory -j $(strip $(WORKERS)) $(PAGES)

docs/notebooks/%.md: notebooks/%.ipynb
	@echo "running $<"
	@$(BIN)/jupyter nbconvert --log-level ERROR --ExecutePreprocessor.extra_arguments=--log-level=ERROR \
		--execute --to markdown --output-dir docs/notebooks $<
	@! grep -n "Warning" $@ || { rm $@; exit 1; }
	@sed -i.as-run -e 's#](../docs/#](../#g; s#\.ipynb)#.md)#g' $@ && rm $@.as-run # links, as seen from docs

docs: notebooks
	DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --quiet --strict --site-dir site

unit: env
	$(PYTEST)

quick: lint
	$(PYTEST) -q $(QUICK)

bench: env
	$(BIN)/neural-graphs bench

# Without the name of the build (+cpu, +cu130): that is for pip's index to choose.
constraints: env
	@{ head -n 1 constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+[a-z0-9]*$$//'; } > $(VENV)/constraints
	@mv $(VENV)/constraints constraints.txt

clean:
	rm -rf $(VENV) site docs/notebooks .mypy_cache .pytest_cache .ruff_cache .hypothesis
