"""Images found by likeness: a network's features, an index on the disk, search, evaluation."""
