"""The book as pages: a static site that is made from the source itself.

    python -m book

order      which files the book has, and in which order they are read
graph      which module uses which
rows       a file as rows: an explanation, and the lines that it explains
prose      the plain text of docstrings and comments: paragraphs, lists, formulas
names      which name of the source leads to which place of the book
drawing    the map of the book
steps      the scripts of examples/steps, run
staging    the files from which Sphinx makes the site
annotated  the extension of Sphinx that shows a Python file as a page
conf       the settings of Sphinx

Everything down to `staging` works without Sphinx, and is tested with all the rest.
Sphinx, its theme and its reader of Markdown are the extra `book`.
"""
