# make demo and make test set up all that they need: a virtual environment from requirements, nothing else.

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
DEMO := runs/quickstart
SUBJECTS := runs/demo_subjects
FIRST := runs/demo_first

# Large pages for large arrays, where malloc is glibc's: page by page, an eighth of a CPU's time goes into getting them.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

.PHONY: demo test test-slow test-hosts lint format wheel docs clean

demo: $(VENV)/.installed
	$(PY) -m scripts.write_phantom --config lift_jax/shipped/phantom-missing-mr/config.json --spacing 2 --output $(FIRST)/subjects
	$(PY) synthesize.py --weights phantom-missing-mr --case $(FIRST)/subjects --target t2w --force --output $(FIRST)
	$(PY) -m lift_jax view $(FIRST)/subjects/*/*-t1n.nii.gz $(FIRST)/subjects/*/*-t2w.nii.gz $(FIRST)/*-t2w.nii.gz \
		--output $(FIRST)/view.html
	@echo "a first result, T1, true T2 and predicted T2: open $(FIRST)/view.html in a browser; now training, minutes"
	$(PY) train.py --config quickstart --workdir $(DEMO)
	$(PY) evaluate.py --workdir $(DEMO)
	$(PY) -m scripts.write_phantom --config $(DEMO)/config.json --without t2f --output $(SUBJECTS)
	$(PY) synthesize.py --workdir $(DEMO) --case $(SUBJECTS) --output runs/demo_synthesis
	@echo "open $(DEMO)/evaluation/report.html in a browser; the translated volume is in runs/demo_synthesis"

test: lint
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 30

test-slow: $(VENV)/.installed-test
	$(PY) -m pytest -m slow

test-hosts: $(VENV)/.installed-test
	$(PY) -m pytest -m hosts

# Style, types, and which sub-package may import which.
lint: $(VENV)/.installed-test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/.installed-test
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# dist/lift_jax-VERSION-py3-none-any.whl
wheel: $(VENV)/.installed-test
	$(PY) -m pip wheel --quiet --no-deps --wheel-dir dist .

# The site, in site/; a warning is an error.
docs: $(VENV)/.installed-docs
	$(PY) -m mkdocs build --strict

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	$(PY) -m pip install --quiet --requirement requirements.txt
	touch $@

$(VENV)/.installed-test: requirements.txt requirements-test.txt | $(VENV)/bin/python
	$(PY) -m pip install --quiet --requirement requirements-test.txt
	touch $@

$(VENV)/.installed-docs: requirements-docs.txt | $(VENV)/bin/python
	$(PY) -m pip install --quiet --requirement requirements-docs.txt
	touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info runs/quickstart $(SUBJECTS) $(FIRST) runs/demo_synthesis
