"""The ``rerank`` command, one command per file."""
