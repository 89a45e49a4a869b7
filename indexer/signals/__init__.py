"""Per-document numbers in [0, 1] beside relevance: pure functions over arrays, no files, no engine, no clock."""
