# walt: virtual nodes. `make help` lists the targets; INSTANCE=name runs another platform beside the default one,
# HOSTS=2 one with two hosts, the second in a namespace beside the first. HOURS=n is of `make soak`.

INSTANCE ?= local
PYTHON := .venv/bin/python
LOCAL := $(PYTHON) -m deploy.local
SPHINX := $(PYTHON) -m sphinx -q -W
READY := .venv/.complete
TESTABLE := .venv/.testable

.DEFAULT_GOAL := help
.PHONY: help deps cable-code demo up down status clean check docs format unit service system test test-compose soak

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 21

deps: $(READY) cable-code  ## install what is missing: Debian packages, .venv
$(READY): requirements.lock deploy/local/packages.txt deploy/local/deps pyproject.toml
	@deploy/local/deps
cable-code: $(READY)  # no file tells whether it is there: another Python, or a compiler that has come, wants it anew
	@$(PYTHON) -m deploy.cable_build
$(TESTABLE): $(READY) tests/packages.txt | cable-code
	@deploy/local/deps tests/packages.txt
	@touch $@

demo: up  ## start the platform and run the experiment of the blog post
	@$(PYTHON) -m deploy.local.demo $(INSTANCE)

up: $(READY) cable-code  ## start the platform on this host
	@$(LOCAL) up --instance $(INSTANCE) $(if $(HOSTS),--hosts $(HOSTS))

down: $(READY)  ## stop it; nodes and accounts are kept
	@$(LOCAL) down --instance $(INSTANCE)

status: $(READY)  ## programs, addresses, metrics (exit status of deploy.local: 0 up, 3 down)
	@$(LOCAL) status --instance $(INSTANCE)

clean: $(READY)  ## stop it and forget its nodes and accounts
	@$(LOCAL) clean --instance $(INSTANCE)

check: $(READY) cable-code  ## style, types, documentation, unit tests: quick
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@$(SPHINX) -b html docs build/docs/html
	@$(PYTHON) -m pytest -q tests/unit

docs: $(READY)  ## the documentation as pages and manual pages, in build/docs
	@$(SPHINX) -b html docs build/docs/html
	@$(SPHINX) -b man docs build/docs/man
	@echo "build/docs/html/index.html, build/docs/man"

format: $(READY)  ## rewrite the sources in the project's style
	@$(PYTHON) -m ruff check --fix
	@$(PYTHON) -m ruff format

unit service: $(READY) cable-code
system: $(TESTABLE)
unit service system:
	@$(PYTHON) -m pytest tests/$@

test: $(TESTABLE)  ## everything: style, types, unit, service and system tests (as root)
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@$(SPHINX) -b html docs build/docs/html
	@$(PYTHON) -m tests.everything

soak: $(READY) cable-code  ## a platform of its own in use for HOURS (default: 1): does anything grow?
	@$(LOCAL) up --instance soak --image default=small
	@$(PYTHON) -m benchmarks.soak soak $(or $(HOURS),1); status=$$?; $(LOCAL) clean --instance soak; exit $$status

test-compose: $(READY)  ## the deployment of the README, on a Docker Engine (docker, or WALT_DOCKER_ENGINE)
	@$(PYTHON) -m pytest tests/compose
