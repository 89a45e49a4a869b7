"""TLS and users, on a real OpenSearch with the security plugin: errors are the server's own, reranking degrades."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import opensearchpy
import pytest
from opensearchpy.exceptions import AuthenticationException, AuthorizationException, SSLError

from fakes_library import GRAPH, META, ids, library
from fakes_search import FakeRanker
from harness.secure import ADMIN, OPEN, READER, Secure
from rerank_plugin.client.opensearch import wrap
from rerank_plugin.client.pipeline import Pipeline
from rerank_plugin.config import Rerank

INDEX, CLOSED = f"{OPEN}-books", "closed-books"
BODY: dict[str, Any] = {"query": GRAPH, "size": 5, "aggs": {"tenants": {"terms": {"field": "tenant"}}}}


@pytest.fixture(scope="module", autouse=True)
def shelf(secured: Secure) -> Iterator[None]:
    admin = client(secured, ADMIN)
    for index in (INDEX, CLOSED):
        admin.indices.create(index=index, body={"mappings": {"_meta": {"rerank": META}}})
        opensearchpy.helpers.bulk(
            admin, [{"_index": index, "_id": name, **book} for name, book in library(30).items()], refresh=True
        )
    yield
    admin.close()


def client(secured: Secure, user: str, **given: Any) -> opensearchpy.OpenSearch:
    options = {"http_auth": (user, secured.password), "ca_certs": str(secured.authority), "max_retries": 0, **given}
    return opensearchpy.OpenSearch(secured.node.url, **options)


def reranking(plain: opensearchpy.OpenSearch) -> opensearchpy.OpenSearch:
    return wrap(plain, pipeline=Pipeline(Rerank(), ranker=FakeRanker()))


def check_both_raise(plain: opensearchpy.OpenSearch, kind: type[Exception], index: str = INDEX) -> None:
    """The same error from the plain client and from ours."""
    told = []
    for each in (plain, reranking(plain)):
        with pytest.raises(kind) as raised:
            each.search(index=index, body=BODY)
        told.append((type(raised.value), raised.value.status_code))  # type: ignore[attr-defined]
    assert told[0] == told[1]
    plain.close()


def test_users_who_may_see_everything_are_served_in_full(secured: Secure) -> None:
    plain = client(secured, ADMIN)
    response = reranking(plain).search(index=INDEX, body=BODY)
    assert response["rerank"]["status"] == "applied"
    assert "meta" not in response["rerank"]
    assert ids(response)[0] == "b29"  # the longest
    plain.close()


def test_a_reader_without_mappings_is_reranked_and_told_what_lacks(secured: Secure) -> None:
    plain = client(secured, READER)
    with pytest.raises(AuthorizationException):
        plain.indices.get_mapping(index=INDEX)
    response, own = reranking(plain).search(index=INDEX, body=BODY), plain.search(index=INDEX, body=BODY)
    assert (response["rerank"]["status"], response["rerank"]["meta"]) == ("applied", "not readable (403)")
    assert response["hits"]["total"] == own["hits"]["total"]
    assert response["aggregations"] == own["aggregations"]
    lines: list[Any] = [{}, BODY, {"index": CLOSED}, BODY]
    answers = [each.msearch(index=INDEX, body=lines)["responses"] for each in (plain, reranking(plain))]
    assert [each["status"] for each in answers[0]] == [each["status"] for each in answers[1]] == [200, 403]
    assert answers[1][1]["error"]["type"] == answers[0][1]["error"]["type"]
    assert answers[1][0]["rerank"]["status"] == "applied"
    plain.close()


def test_an_index_that_is_closed_to_the_reader(secured: Secure) -> None:
    check_both_raise(client(secured, READER), AuthorizationException, CLOSED)


def test_a_wrong_password(secured: Secure) -> None:
    check_both_raise(client(secured, READER, http_auth=(READER, "wrong")), AuthenticationException)
    plain = client(secured, READER, http_auth=(READER, "wrong"))
    assert "rerank" not in reranking(plain).search(index=INDEX, body=BODY, ignore=401)
    plain.close()


def test_a_certificate_of_another_authority(secured: Secure) -> None:
    check_both_raise(client(secured, ADMIN, ca_certs=str(secured.stranger)), SSLError)


def test_no_tls_where_there_should_be(secured: Secure) -> None:
    plain = client(secured, ADMIN)
    plain.close()
    bare = opensearchpy.OpenSearch(secured.node.url.replace("https", "http"), max_retries=0)
    check_both_raise(bare, opensearchpy.exceptions.ConnectionError)
