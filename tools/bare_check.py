"""Checks the bare install: a light import, then the drop-in client with the shipped model against a fake OpenSearch.

python bare_check.py        (copied out of the checkout, so that the installed package is what it finds)
"""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Loaded only once a search needs them.
HEAVY = ("faiss", "numpy", "onnxruntime", "scipy", "tantivy", "tokenizers", "torch", "transformers")
#: Brought by extras only.
EXTRAS = ("faiss", "scipy", "sentence_transformers", "tantivy", "torch", "transformers")
QUERY = "how to repair a flat bicycle tyre"
#: In the engine's order, with its scores: words alone put the answer last.
HITS = (
    ("opera", 2.1, "How to repair a flat performance: singers on stage fright."),
    ("castle", 2.0, "The flat roof of the castle needs repair, say its keepers."),
    (
        "puncture",
        1.9,
        "Mending a punctured bike wheel: take out the inner tube, find the hole and patch the flat tyre.",
    ),
)


class FakeOpenSearch(BaseHTTPRequestHandler):
    """One index, three documents, the same hits for every query."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body, status = self._body()
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = _answer

    def _body(self) -> tuple[dict[str, Any], int]:
        path = self.path.partition("?")[0]
        if path == "/":
            return {"version": {"distribution": "opensearch", "number": "3.5.0"}}, 200
        if path.endswith("/_search"):
            hits = [{"_index": "notes", "_id": each, "_score": s, "_source": {"text": t}} for each, s, t in HITS]
            total = {"value": len(hits), "relation": "eq"}
            shards = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
            found = {"total": total, "max_score": HITS[0][1], "hits": hits}
            return {"took": 1, "timed_out": False, "_shards": shards, "hits": found}, 200
        if "/_mapping" in path:
            return {"notes": {"mappings": {"properties": {"text": {"type": "text"}}}}}, 200
        return {"error": {"type": "not_found", "reason": path}, "status": 404}, 404

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: only failures are worth a line."""


def expect(holds: bool, wanted: str) -> None:
    """Ends the check where something does not hold."""
    if not holds:
        sys.exit(f"bare install: {wanted}")


def main() -> None:
    present = [each for each in EXTRAS if importlib.util.find_spec(each)]
    expect(not present, f"wanted no extras installed, found {', '.join(present)}")

    from rerank_plugin import OpenSearch

    loaded = [each for each in HEAVY if each in sys.modules]
    expect(not loaded, f"the import must stay light, it loaded {', '.join(loaded)}")

    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeOpenSearch)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        client = OpenSearch(f"http://127.0.0.1:{server.server_port}")
        found = client.search(index="notes", body={"query": {"match": {"text": QUERY}}})
    finally:
        server.shutdown()
    status = found.get("rerank", {})
    expect(status.get("status") == "applied", f"wanted the status applied, got {json.dumps(status)}")
    order = [hit["_id"] for hit in found["hits"]["hits"]]
    expect(sorted(order) == sorted(each for each, _, _ in HITS), f"hits were lost or repeated: {order}")
    expect(order[0] == "puncture", f"wanted puncture first, got {order}")
    expect(all("_rerank" in hit for hit in found["hits"]["hits"]), "every hit must carry _rerank")
    sys.stdout.write(f"bare install: reranked by {status['model']}, {order}\n")


if __name__ == "__main__":
    main()
