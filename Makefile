# Needs Python 3.11 or later and make; everything else is installed into .venv.
# Another interpreter: make PYTHON=python3.13 demo

PYTHON ?= python3
RUN ?= runs/demo
BENCH ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test coverage test-slow test-lab parity lint format bench docs clean FORCE

# What the user's shell has set must not reach into the environments.
unexport PYTHONHOME PYTHONPATH
export PIP_USER := 0
export CHROMIUM
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 - \2/p' Makefile

demo: .venv/.demo ## train LeNet-5 on real handwritten digits
	@.venv/bin/chainrule train lenet5 --data digits --out "$(RUN)" --overwrite
	@echo "results: $(RUN)"

test: .venv/.dev ## run every test that is not slow
	@.venv/bin/python -m pytest -m "not slow and not browser"

coverage: .venv/.dev ## the same, counting what it covers: takes half as long again
	@.venv/bin/python -m pytest -m "not slow and not browser" --cov

test-slow: .venv/.dev ## run the tests that take longer
	@.venv/bin/python -m pytest -m "slow and not browser"

test-lab: .venv/.browser ## drive the pages of `chainrule lab` with a browser; installs Chromium on Debian
	@for name in "$$CHROMIUM" chromium chromium-browser google-chrome; do \
	  command -v "$$name" >/dev/null 2>&1 && found=yes; done; test -n "$$found" || { \
	  echo "installing Chromium (this needs root; or name a browser: make CHROMIUM=/path test-lab) ..."; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }
	@.venv/bin/python -m pytest tests/lab -m browser

parity: .venv-parity/.parity ## compare with PyTorch, in an environment of its own
	@.venv-parity/bin/python -m pytest tests/parity -q

lint: .venv/.dev ## check style, types and the direction of imports
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m ruff format --check .
	@.venv/bin/python -m mypy --strict src
	@.venv/bin/python -c "from importlinter.cli import lint_imports_command as main; main()" --no-logo

format: .venv/.dev ## put the code into the form that lint asks for
	@.venv/bin/python -m ruff check --fix .
	@.venv/bin/python -m ruff format .

bench: .venv-bench/.bench ## measure speed and memory beside PyTorch's, in an environment of its own
	@.venv-bench/bin/python benchmarks/run.py --installed-size $(BENCH)

docs: .venv/.docs ## write the documentation to build/docs; a warning is an error
	@.venv/bin/python -m sphinx -n -W --keep-going -q -d build/doctrees docs build/docs
	@echo "documentation: build/docs/index.html"

clean: ## remove the environments and caches; runs/ stays
	rm -rf .venv .venv-bench .venv-parity build dist htmlcov .coverage .coverage.*
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -f src/chainrule/native/libchainrule.so
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# --- environments ---------------------------------------------------------------------------
# A stamp says that an installation is finished.  It is stale when pyproject.toml is newer or a
# source of the compiled kernels, which the installation builds, and also when the checkout was
# moved or the interpreter has gone, which no date would tell.

native := src/chainrule/native
built := pyproject.toml hatch_build.py $(native)/sources.py $(native)/source $(wildcard $(native)/source/*)

stale = $(shell test "$$(cat $(1)/.where 2>/dev/null)" = "$$(pwd)" && $(1)/bin/python -c "" >/dev/null 2>&1 || echo FORCE)
comma := ,
usable = -c "import sys, pip; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1

define install
@$(1)/bin/python $(usable) || { \
  $(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || { \
    echo "chainrule needs Python 3.11 or later, and '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)"; \
    echo "If a newer one is installed, name it: make PYTHON=python3.13 $(MAKECMDGOALS)"; \
    exit 1; } >&2; \
  echo "making $(1) ..."; \
  $(PYTHON) -m venv --clear $(1) || { \
    echo "'$(PYTHON)' could not make $(1) (on Debian and Ubuntu: apt install python3-venv)"; \
    exit 1; } >&2; }
@echo "installing into $(1) (once; it takes a minute or two) ..."
@$(1)/bin/python -m pip install --quiet $(2)
@pwd > $(1)/.where
@touch $@
endef

.venv/.demo: $(built) $(call stale,.venv)
	$(call install,.venv,--editable ".[demo]")

.venv/.dev: $(built) $(call stale,.venv)
	$(call install,.venv,--editable ".[dev]")

.venv/.browser: $(built) $(call stale,.venv)
	$(call install,.venv,--editable ".[browser]")

.venv/.docs: $(built) $(call stale,.venv)
	$(call install,.venv,--editable ".[docs]")

.venv-parity/.parity: $(built) Makefile $(call stale,.venv-parity)
	$(call install,.venv-parity,--editable . hypothesis pytest "torch==2.13.0")

.venv-bench/.bench: $(built) Makefile $(call stale,.venv-bench)
	$(call install,.venv-bench,--editable ".[demo$(comma)onnx]" faiss-cpu onnxruntime psutil usearch "torch==2.13.0")
