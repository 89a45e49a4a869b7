"""The bundled demo collection: a BEIR directory of landmark works in computing. An illustration, not evidence."""

from pathlib import Path

#: The BEIR directory: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/test.tsv``; its README.md says how it was made.
DIRECTORY = Path(__file__).parent
