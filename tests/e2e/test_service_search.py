"""GET /v1/commands: filters, order, pages."""

import time

import pytest

pytest_plugins = ["service_plugin"]


@pytest.fixture
def stock(service_site):
    """Nine commands: three targets, two actions, metadata, some ended."""
    records = []
    for number in range(9):
        records.append(service_site.requestor.send(
            target=f"agent-{1 + number % 3}", action="even" if number % 2 == 0 else "odd",
            ttl=1000 - 10 * number, metadata={"number": str(number), "third": str(number // 3)}))
        time.sleep(0.002)  # so that their times of creation differ
    for command in service_site.agent.receive():
        service_site.agent.end(command, "SUCCESS" if command["body"] else "FAILURE")
    return service_site.requestor, [record["id"] for record in records]


def numbers(answer):
    return [int(hit["metadata"]["number"]) for hit in answer["hits"]]


def test_without_parameters_the_newest_come_first(stock):
    requestor, ids = stock
    answer = requestor.search()
    assert list(answer) == ["hits", "hasNext", "from", "size", "sort"]
    assert [hit["id"] for hit in answer["hits"]] == ids[::-1]
    assert (answer["hasNext"], answer["from"], answer["size"], answer["sort"]) == (
        False, 0, 100, "desc")
    assert answer["hits"][0] == requestor.record(ids[-1])


def test_filters_narrow_the_search(stock):
    requestor, _ = stock
    assert numbers(requestor.search(targetId="agent-2")) == [7, 4, 1]
    assert numbers(requestor.search(("targetId", "agent-2"), ("targetId", "agent-3"))) == [
        8, 7, 5, 4, 2, 1]
    assert numbers(requestor.search(action="odd")) == [7, 5, 3, 1]
    assert numbers(requestor.search(status="SUCCESS")) == [6, 3, 0]
    assert numbers(requestor.search(("status", "PENDING"), ("status", "FAILURE"),
                                    ("action", "even"))) == [8, 4, 2]
    assert numbers(requestor.search(("metadata.third", "1"))) == [5, 4, 3]
    assert numbers(requestor.search(("metadata.third", "1"), ("metadata.number", "4"))) == [4]
    assert numbers(requestor.search(("metadata.third", "1"), action="odd")) == [5, 3]
    assert numbers(requestor.search(targetId="nobody")) == []
    assert numbers(requestor.search(status="UNSENT")) == []
    assert numbers(requestor.search(("metadata.none", "1"))) == []


def test_times_narrow_the_search_ends_included(stock):
    requestor, ids = stock
    created = [requestor.record(command_id)["createdAt"] for command_id in ids]
    expires = [requestor.record(command_id)["expiresAt"] for command_id in ids]
    updated = requestor.record(ids[0])["updatedAt"]
    assert numbers(requestor.search(createdAtAfter=created[6])) == [8, 7, 6]
    assert numbers(requestor.search(createdAtBefore=created[2])) == [2, 1, 0]
    assert numbers(requestor.search(fromDate=created[3], toDate=created[4])) == [4, 3]
    assert numbers(requestor.search(expiresAtAfter=expires[1])) == [1, 0]
    assert numbers(requestor.search(expiresAtBefore=expires[7], sortBy="expiresAt",
                                    sort="asc")) == [8, 7]
    assert 0 in numbers(requestor.search(updatedAtAfter=updated))
    assert numbers(requestor.search(updatedAtAfter=updated, createdAtBefore=created[0])) == [0]
    assert numbers(requestor.search(createdAtAfter="2999-01-01T00:00:00Z")) == []


def test_the_order_can_be_chosen(stock):
    requestor, _ = stock
    assert numbers(requestor.search(sort="asc")) == list(range(9))
    assert numbers(requestor.search(sortBy="createdAt", sort="asc")) == list(range(9))
    assert numbers(requestor.search(sortBy="expiresAt", sort="asc")) == list(range(8, -1, -1))
    assert numbers(requestor.search(sortBy="updatedAt"))[:3] == [6, 3, 0]
    assert numbers(requestor.search(sortBy="targetId", sort="asc")) == [
        0, 3, 6, 1, 4, 7, 2, 5, 8]
    assert numbers(requestor.search(sortBy="action")) == [7, 5, 3, 1, 8, 6, 4, 2, 0]
    answer = requestor.search(sortBy="status", sort="asc")
    statuses = [hit["status"] for hit in answer["hits"]]
    assert statuses == sorted(statuses)
    assert answer["sort"] == "asc"


def test_pages_follow_each_other(stock):
    requestor, _ = stock
    seen = []
    for start in range(0, 12, 4):
        answer = requestor.search(**{"from": start, "size": 4})
        assert answer["from"] == start and answer["size"] == 4
        assert answer["hasNext"] == (start + 4 < 9)
        seen += numbers(answer)
    assert seen == list(range(8, -1, -1))
    assert requestor.search(**{"from": 1000000})["hits"] == []


@pytest.mark.parametrize("query, expected", [
    ("targetid=x", "unknown query parameter targetid (did you mean targetId?)"),
    ("metadata=x", "unknown query parameter metadata"),
    ("metadata.=x", "unknown query parameter metadata."),
    ("status=DONE", "status must be one of CREATED, UNSENT, PENDING, PROCESSING, SUCCESS, FAILURE,"
                    " REJECTED, EXPIRED, PURGED, ERROR, not DONE"),
    ("size=0", "size must be a whole number from 1 to 200"),
    ("size=201", "size must be a whole number from 1 to 200"),
    ("size=ten", "size must be a whole number from 1 to 200"),
    ("from=-1", "from must be a whole number from 0 to 1000000000"),
    ("sort=up", "sort must be asc or desc, not up"),
    ("sortBy=payload", "sortBy must be one of createdAt, updatedAt, expiresAt, status, action,"
                       " targetId, not payload"),
    ("createdAtAfter=yesterday", "createdAtAfter: "),
])
def test_wrong_parameters_are_refused_by_name(service_site, query, expected):
    reply = service_site.requestor.get("/v1/commands?" + query)
    assert reply.status == 400
    assert reply.message.startswith(expected)


def test_all_wrong_parameters_are_named_at_once(service_site):
    reply = service_site.requestor.get("/v1/commands?size=0&sort=up&x=1")
    assert reply.message == ("size must be a whole number from 1 to 200; sort must be asc or desc,"
                             " not up; unknown query parameter x")


def test_an_org_sees_its_own_commands_only(service_site):
    service_site.requestor.send()
    token = service_site.service.create_token("requestor", service_site.org + "-b")
    theirs = service_site.new_requestor()
    theirs.headers.update({"ts-auth-token": token, "x-org-slug": service_site.org + "-b"})
    assert theirs.search()["hits"] == []
    assert theirs.get("/v1/commands/actions").json() == []
    own = theirs.send()
    assert [hit["id"] for hit in theirs.search()["hits"]] == [own["id"]]
    mine = service_site.requestor.search()["hits"][0]["id"]
    assert theirs.get(f"/v1/commands/{mine}").status == 404
    assert theirs.delete("/v1/commands?targetId=agent-1").json() == {
        "purged": [{"commandId": own["id"]}]}
    assert service_site.requestor.record(mine)["status"] == "PENDING"


def test_a_page_that_would_be_too_large_asks_for_a_smaller_one(service_site):
    for _ in range(8):
        service_site.requestor.send(payload="x" * 9_000_000)
    reply = service_site.requestor.get("/v1/commands")
    assert reply.status == 400
    assert "ask for fewer at a time, with size=" in reply.message
    assert len(service_site.requestor.search(size=3)["hits"]) == 3
