"""What every engine must do alike, indexes and mappings.

Each test runs on the embedded engine and, where there is one, on a real OpenSearch; expected values are worked by hand.
"""

from __future__ import annotations

import pytest
from opensearchpy.exceptions import NotFoundError, RequestError

from engines.library import ENGLISH, MAPPING, hits


class TestIndexes:
    def test_create_get_delete(self, engine_client, index):
        assert engine_client.indices.exists(index=index) is False
        created = engine_client.indices.create(index=index, body={"mappings": MAPPING})
        assert created == {"acknowledged": True, "shards_acknowledged": True, "index": index}
        assert engine_client.indices.exists(index=index) is True
        stored = engine_client.indices.get(index=index)[index]
        assert stored["mappings"]["_meta"] == {"made_by": "contract"}
        assert stored["mappings"]["properties"]["title"] == {**ENGLISH, "copy_to": ["content"]}
        assert stored["settings"]["index"]["number_of_shards"] == "1"
        assert engine_client.indices.delete(index=index) == {"acknowledged": True}
        assert engine_client.indices.exists(index=index) is False

    def test_an_index_is_made_once(self, engine_client, index):
        engine_client.indices.create(index=index)
        with pytest.raises(RequestError) as caught:
            engine_client.indices.create(index=index)
        assert caught.value.error == "resource_already_exists_exception"

    def test_a_missing_index(self, engine_client, index):
        for call in (
            lambda: engine_client.search(index=index, body={}),
            lambda: engine_client.get(index=index, id="1"),
            lambda: engine_client.indices.get_mapping(index=index),
            lambda: engine_client.indices.delete(index=index),
            lambda: engine_client.indices.refresh(index=index),
        ):
            with pytest.raises(NotFoundError) as caught:
                call()
            assert caught.value.error == "index_not_found_exception"
            assert caught.value.info["error"]["reason"] == f"no such index [{index}]"

    @pytest.mark.parametrize("name", ["Upper", "_hidden", "-dash", "a,b", "a b", "a*", "..", "a#b", 'a"b', "x" * 256])
    def test_names_that_cannot_be(self, engine_client, name):
        with pytest.raises(RequestError) as caught:
            engine_client.indices.create(index=name)
        assert caught.value.error == "invalid_index_name_exception"

    def test_mapping_grows_and_meta_is_replaced(self, engine_client, own_library):
        engine_client.indices.put_mapping(index=own_library, body={"_meta": {"second": 2}})
        more = {"properties": {"place": {"properties": {"x": {"type": "date"}}}}}
        engine_client.indices.put_mapping(index=own_library, body=more)
        mappings = engine_client.indices.get_mapping(index=own_library)[own_library]["mappings"]
        assert mappings["_meta"] == {"second": 2}
        assert set(mappings["properties"]["place"]["properties"]) == {"city", "floor", "x"}
        assert mappings["properties"]["year"] == {"type": "integer"}

    def test_a_field_keeps_its_type(self, engine_client, own_library):
        with pytest.raises(RequestError) as caught:
            engine_client.indices.put_mapping(index=own_library, body={"properties": {"year": {"type": "keyword"}}})
        assert "mapper [year] cannot be changed from type [integer] to " in str(caught.value.info)
        with pytest.raises(RequestError):
            engine_client.indices.put_mapping(
                index=own_library, body={"properties": {"title": {"type": "text", "analyzer": "standard"}}}
            )

    @pytest.mark.parametrize(
        ("mapping", "words"),
        [
            ({"properties": {"a": {"type": "unheard"}}}, "No handler for type [unheard] declared on field [a]"),
            (
                {"properties": {"a": {"type": "text", "analyzer": "klingon"}}},
                "analyzer [klingon] has not been configured",
            ),
            ({"properties": {"a": {"type": "text", "wat": 1}}}, "unknown parameter [wat] on mapper [a] of type [text]"),
            ({"wat": 1}, "unsupported parameters:  [wat : 1]"),
        ],
    )
    def test_mappings_that_cannot_be(self, engine_client, index, mapping, words):
        with pytest.raises(RequestError) as caught:
            engine_client.indices.create(index=index, body={"mappings": mapping})
        assert caught.value.error == "mapper_parsing_exception"
        assert words in str(caught.value.info)

    def test_settings_change(self, engine_client, own_library):
        engine_client.indices.put_settings(index=own_library, body={"index": {"refresh_interval": "-1"}})
        settings = engine_client.indices.get_settings(index=own_library)[own_library]["settings"]["index"]
        assert settings["refresh_interval"] == "-1"
        with pytest.raises(RequestError) as caught:
            engine_client.indices.put_settings(index=own_library, body={"index": {"wat": 1}})
        assert "unknown setting [index.wat]" in str(caught.value.info)


class TestDynamicMapping:
    def test_unknown_fields_are_typed_by_their_first_value(self, engine_client, index):
        document = {
            "words": "some words",
            "whole": 3,
            "broken": 1.5,
            "yes": True,
            "day": "2020-05-31",
            "list": [None, 4],
            "inner": {"deep": {"number": 1}},
            "dotted.name": "x",
            "none": None,
            "digits": "2020",
        }
        engine_client.index(index=index, id="1", body=document, refresh=True)
        properties = engine_client.indices.get_mapping(index=index)[index]["mappings"]["properties"]
        text = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
        assert properties == {
            "words": text,
            "whole": {"type": "long"},
            "broken": {"type": "float"},
            "yes": {"type": "boolean"},
            "day": {"type": "date"},
            "list": {"type": "long"},
            "inner": {"properties": {"deep": {"properties": {"number": {"type": "long"}}}}},
            "dotted": {"properties": {"name": text}},
            "digits": text,
        }
        for query in (
            {"match": {"words": "SOME"}},
            {"term": {"words.keyword": "some words"}},
            {"range": {"inner.deep.number": {"gte": 1}}},
            {"term": {"dotted.name.keyword": "x"}},
            {"range": {"day": {"gte": "2020-05-31", "lte": "2020-05-31"}}},
        ):
            assert hits(engine_client, index, query) == ["1"], query

    def test_documents_of_before_stay_when_fields_come(self, engine_client, own_library):
        engine_client.index(index=own_library, id="new", body={"title": "Zebra", "stripes": 40}, refresh=True)
        assert hits(engine_client, own_library, {"term": {"stripes": 40}}) == ["new"]
        assert hits(engine_client, own_library, {"match": {"content": "zebra"}}) == ["new"]
        assert set(hits(engine_client, own_library, {"match": {"content": "ranking"}})) == {"1", "2"}

    def test_strict_and_false(self, engine_client, index):
        mapping = {
            "dynamic": "strict",
            "properties": {"known": {"type": "long"}, "loose": {"type": "object", "dynamic": False}},
        }
        engine_client.indices.create(index=index, body={"mappings": mapping})
        with pytest.raises(RequestError) as caught:
            engine_client.index(index=index, id="1", body={"unknown": 1})
        assert caught.value.error == "strict_dynamic_mapping_exception"
        assert "dynamic introduction of [unknown] within [_doc] is not allowed" in str(caught.value.info)
        engine_client.index(index=index, id="1", body={"known": 1, "loose": {"any": "thing"}}, refresh=True)
        assert hits(engine_client, index, {"match": {"loose.any": "thing"}}) == []
        assert engine_client.get(index=index, id="1")["_source"]["loose"] == {"any": "thing"}
