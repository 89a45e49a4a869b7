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

What is not supported is refused with a 400 that names it: a wrong answer would be worse than none.
"""
