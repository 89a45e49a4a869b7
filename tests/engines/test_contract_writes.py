"""What every engine must do alike, writing documents.

Each test runs on the embedded engine and, where there is one, on a real OpenSearch; expected values are worked by hand.
"""

from __future__ import annotations

import json

import pytest
from opensearchpy.exceptions import ConflictError, NotFoundError, RequestError

from engines.library import DOCUMENTS, hits


class TestWrites:
    def test_bulk_reports_each_item(self, engine_client, own_library):
        lines = [
            {"index": {"_id": "0"}}, {"title": "again"},
            {"create": {"_id": "1"}}, {"title": "exists"},
            {"update": {"_id": "2"}}, {"doc": {"place": {"floor": 9}}},
            {"update": {"_id": "2"}}, {"doc": {"place": {"floor": 9}}},
            {"update": {"_id": "none"}}, {"doc": {"title": "x"}},
            {"update": {"_id": "made"}}, {"doc": {"title": "made"}, "doc_as_upsert": True},
            {"delete": {"_id": "3"}},
            {"delete": {"_id": "none"}},
            {"index": {"_id": "bad"}}, {"year": "abc"},
        ]  # fmt: skip
        body = "".join(json.dumps(line) + "\n" for line in lines)
        response = engine_client.bulk(index=own_library, body=body, refresh=True)
        assert response["errors"] is True
        items = [next(iter(item.items())) for item in response["items"]]
        assert [(action, item["status"], item.get("result")) for action, item in items] == [
            ("index", 200, "updated"),
            ("create", 409, None),
            ("update", 200, "updated"),
            ("update", 200, "noop"),
            ("update", 404, None),
            ("update", 201, "created"),
            ("delete", 200, "deleted"),
            ("delete", 404, "not_found"),
            ("index", 400, None),
        ]
        first, conflict, _, _, missing, _, _, _, bad = (item for _, item in items)
        assert {key: first[key] for key in ("_index", "_id", "_version", "_primary_term")} == {
            "_index": own_library, "_id": "0", "_version": 2, "_primary_term": 1,
        }  # fmt: skip
        assert first["_seq_no"] == len(DOCUMENTS)
        assert conflict["error"]["type"] == "version_conflict_engine_exception"
        assert "document already exists (current version [1])" in conflict["error"]["reason"]
        assert missing["error"]["type"] == "document_missing_exception"
        assert bad["error"]["type"] == "mapper_parsing_exception"
        assert bad["error"]["reason"] == (
            "failed to parse field [year] of type [integer] in document with id 'bad'. Preview of field's value: 'abc'"
        )
        assert bad["error"]["caused_by"]["reason"] == 'For input string: "abc"'
        assert engine_client.get(index=own_library, id="2")["_source"]["place"] == {"city": "Bergen", "floor": 9}
        assert engine_client.count(index=own_library)["count"] == len(DOCUMENTS)

    @pytest.mark.parametrize(
        ("document", "words"),
        [
            ({"year": 2**31}, "out of range"),
            ({"year": {"a": 1}}, "failed to parse field [year] of type [integer]"),
            ({"title": {"a": 1}}, "failed to parse field [title] of type [text]"),
            ({"seen": "maybe"}, "failed to parse field [seen] of type [boolean]"),
            ({"published": "yesterday"}, "failed to parse date field [yesterday]"),
            ({"price": "1e400"}, "[float] supports only finite values"),
            ({"place": "Oslo"}, "object mapping for [place] tried to parse"),
            ({"wide": "x" * 40_000}, 'immense term in field="wide"'),
            ({"": 1}, "failed to parse"),
            ({"a..b": 1}, "failed to parse"),
        ],
    )
    def test_documents_that_do_not_fit(self, engine_client, own_library, document, words):
        ok = {"title": "fits"}
        lines = [{"index": {"_id": "bad"}}, document, {"index": {"_id": "good"}}, ok]
        response = engine_client.bulk(
            index=own_library, body="".join(json.dumps(line) + "\n" for line in lines), refresh=True
        )
        bad, good = (item["index"] for item in response["items"])
        assert (bad["status"], good["status"]) == (400, 201)
        assert words in json.dumps(bad["error"], ensure_ascii=False).replace('\\"', '"')
        assert engine_client.exists(index=own_library, id="bad") is False
        assert engine_client.exists(index=own_library, id="good") is True

    def test_source_lines_that_are_no_json(self, engine_client, own_library):
        sources = {"cut": '{"title":', "nan": '{"price":NaN}', "ok": '{"price":1}'}
        body = "".join(f'{{"index":{{"_id":"{key}"}}}}\n{source}\n' for key, source in sources.items())
        response = engine_client.bulk(index=own_library, body=body, refresh=True)
        assert [item["index"]["status"] for item in response["items"]] == [400, 400, 201]
        assert {item["index"].get("error", {}).get("type") for item in response["items"][:2]} == {
            "mapper_parsing_exception"
        }

    @pytest.mark.parametrize(
        "body",
        [
            '{"index":{"_id":"1"}}\n{"a":1}',
            '{"jump":{}}\n{}\n',
            '{"delete":{}}\n',
            '{"index":{"_id":"1"}}\n',
            "x\n",
            "[]\n{}\n",
        ],
    )
    def test_bulk_bodies_that_are_none(self, engine_client, own_library, body):
        # Sent past the client's helper, which would add the line end.
        with pytest.raises(RequestError):
            engine_client.transport.perform_request("POST", f"/{own_library}/_bulk", body=body.encode())
        assert engine_client.count(index=own_library)["count"] == len(DOCUMENTS)

    def test_one_document(self, engine_client, own_library):
        made = engine_client.index(index=own_library, id="x", body={"title": "one"})
        assert (made["result"], made["_version"]) == ("created", 1)
        again = engine_client.index(index=own_library, id="x", body={"title": "two"})
        assert (again["result"], again["_version"]) == ("updated", 2)
        with pytest.raises(ConflictError):
            engine_client.create(index=own_library, id="x", body={"title": "three"})
        changed = engine_client.update(index=own_library, id="x", body={"doc": {"year": 5}})
        assert (changed["result"], changed["_version"]) == ("updated", 3)
        assert engine_client.update(index=own_library, id="x", body={"doc": {"year": 5}})["result"] == "noop"
        with pytest.raises(ConflictError):
            engine_client.index(index=own_library, id="x", body={}, if_seq_no=made["_seq_no"], if_primary_term=1)
        assert engine_client.delete(index=own_library, id="x")["result"] == "deleted"
        with pytest.raises(NotFoundError) as caught:
            engine_client.delete(index=own_library, id="x")
        assert caught.value.info["result"] == "not_found"
        with pytest.raises(NotFoundError):
            engine_client.update(index=own_library, id="x", body={"doc": {}})

    def test_an_id_may_be_left_to_the_engine(self, engine_client, own_library):
        made = engine_client.index(index=own_library, body={"title": "unnamed"}, refresh=True)
        assert made["result"] == "created"
        assert hits(engine_client, own_library, {"match": {"title": "unnamed"}}) == [made["_id"]]

    def test_ids_of_any_letters(self, engine_client, own_library):
        for doc_id in ("a/b", "ä ö", "50%", "#?&=", "新", ".."):
            engine_client.index(index=own_library, id=doc_id, body={"title": "odd"})
            assert engine_client.get(index=own_library, id=doc_id)["_id"] == doc_id
        with pytest.raises(RequestError):
            engine_client.index(index=own_library, id="x" * 513, body={})

    def test_get_is_realtime_and_search_waits_for_refresh(self, engine_client, own_library):
        engine_client.indices.put_settings(index=own_library, body={"index": {"refresh_interval": "-1"}})
        engine_client.index(index=own_library, id="0", body={"title": "Zebra"})
        engine_client.delete(index=own_library, id="1")
        assert engine_client.get(index=own_library, id="0")["_source"] == {"title": "Zebra"}
        assert engine_client.exists(index=own_library, id="1") is False
        assert hits(engine_client, own_library, {"match": {"title": "zebra"}}) == []
        assert engine_client.count(index=own_library)["count"] == 5
        engine_client.indices.refresh(index=own_library)
        assert hits(engine_client, own_library, {"match": {"title": "zebra"}}) == ["0"]
        assert hits(engine_client, own_library, {"match": {"title": "ranking"}}) == ["2"]
        assert engine_client.count(index=own_library)["count"] == 4
