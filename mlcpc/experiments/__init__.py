"""The experiments of the book: one file each, run by one runner (:mod:`mlcpc.experiments.base`)."""
