"""Wire formats, one per file: pure functions that read requests and responses into a `Call`."""
