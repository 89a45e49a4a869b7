"""A search engine in this process: the engines' REST requests answered from a tantivy index on disk.

    connection.py   opensearch-py's Connection: one request in, status and JSON out
    routes.py       method and path to an operation; parameters.py checks the query string
    cluster.py      the folder, its indexes, one shared instance per process
    store.py        one index: waiting writes, refresh, durable commits; committed.py what is on disk of it;
                    segments.py tantivy's part, metadata.py the rest, disk.py what can go wrong
    mapping.py      field types; values.py, dates.py, documents.py turn JSON into columns; analysis.py text into words
    writes.py       one document written; bulk.py many; reads.py get and mget; indices.py create, mapping, settings
    query.py        the query DSL (clauses in text_clauses.py and term_clauses.py)
    search.py       a search from body to response; ranking.py order and ties; sorting.py fields

Scores, orders, refusals and mappings are those of OpenSearch 3.5, held to it by tests/engines/test_contract_*.py, but:

- BM25 counts all documents of the index where the engines count those that have the field, so fields that many
  documents lack score otherwise. The indexer's ``content`` is in every document.
- ``match_phrase`` with ``slop`` counts every match fully; the engines count distant ones for less.
- One index per search, one shard: ``routing`` is refused, and so are lists, patterns and aliases.
- Nothing is visible before a refresh; there is no refresh by the clock. After 64 MB of writes there is one by itself.
- The version of a deleted document is forgotten at the next refresh.
- A field added to the mapping by hand covers documents of before, too, once the next refresh has written it.
- Reading needs permission to write in the folder: tantivy opens an index under a lock file.

What is not supported is refused with a 400 that names it: a wrong answer would be worse than none.
"""
