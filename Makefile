# Each target is one command; without make, type the command.

PYTHON ?= .venv/bin/python

.PHONY: book test style

book:  # the pages, in build/book
	$(PYTHON) -m book

test:
	$(PYTHON) -m pytest -q -n auto

style:
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check . && $(PYTHON) -m mypy
