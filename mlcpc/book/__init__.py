"""What the pages of the book import: the ledger of checks, figures, tables, published numbers.

Nothing else of the package imports from here, and none of it is needed to use the package.
"""
