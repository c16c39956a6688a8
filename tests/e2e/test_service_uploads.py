"""Large answers: uploaded, referenced, in the record or beside it, fetched in ranges."""

import gzip
import json
import os
import socket
import time

import pytest

from service_client import Client
from service_fixtures import Site

pytest_plugins = ["service_plugin"]

INLINE_MAX = 10 * 1024 * 1024


class Upload:
    """A delivered command and the path its answer goes to."""

    def __init__(self, site):
        self.site = site
        self.record = site.requestor.send()
        self.command = site.agent.receive()[0]
        self.id = self.command["commandId"]
        assert self.id == self.record["id"]
        self.path = self.command["responseBodyUploadUrl"][len(site.url):]
        self.client = Client(site.url)

    def put(self, body, **headers):
        return self.client.put(self.path, body=body, headers={
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()}})

    def end(self, status="SUCCESS"):
        return self.site.agent.end(self.command, status, responseBodyDelivery="referenced")

    def files(self):
        folder = self.site.service.db.with_name("commands.db-answers")
        return sorted(path.name for path in folder.iterdir() if path.name.startswith(self.id))


@pytest.fixture
def upload(service_site):
    return Upload(service_site)


@pytest.fixture
def own_upload(service_own_site):
    return Upload(service_own_site)


def document(size):
    """JSON of about that size, that does not compress to nothing."""
    text = os.urandom(size // 2).hex()
    return json.dumps({"body": text, "statusCode": 200, "headers": []}).encode()


def test_an_uploaded_answer_up_to_10_mb_goes_into_the_record(upload):
    body = document(3_000_000)
    reply = upload.put(body)
    assert (reply.status, reply.json()) == (200, {"size": len(body)})
    assert upload.site.requestor.record(upload.id)["status"] == "PROCESSING"
    assert upload.end()["result"] == "accepted"
    record = upload.site.requestor.record(upload.id)
    assert "responseBodyUrl" not in record
    assert record["responseBody"] == json.loads(body)
    assert upload.site.requestor.get(f"/v1/commands/{upload.id}/response").body == body
    upload.site.requestor.get("/healthz")
    assert upload.files() == []


def test_gzip_is_unpacked(upload):
    body = document(3_000_000)
    packed = gzip.compress(body)
    # In chunks, as an agent streams it.
    chunks = (packed[at:at + 10000] for at in range(0, len(packed), 10000))
    reply = upload.put(chunks, Content_Encoding="gzip")
    assert (reply.status, reply.json()) == (200, {"size": len(body)})
    upload.end()
    assert upload.site.requestor.record(upload.id)["responseBody"] == json.loads(body)


@pytest.mark.parametrize("extra, is_inline", [(0, True), (1, False)])
def test_the_border_is_10_mb(upload, extra, is_inline):
    body = b'"' + b"x" * (INLINE_MAX - 2 + extra) + b'"'
    assert upload.put(body).status == 200
    assert upload.end()["result"] == "accepted"
    record = upload.site.requestor.record(upload.id)
    assert (record["responseBody"] is not None) == is_inline
    assert ("responseBodyUrl" in record) != is_inline


def test_a_larger_answer_is_streamed_from_its_url(own_upload):
    body = document(30_000_000)
    assert own_upload.put(gzip.compress(body, 1), Content_Encoding="gzip").status == 200
    assert own_upload.end("FAILURE")["result"] == "accepted"
    requestor = own_upload.site.requestor
    record = requestor.record(own_upload.id)
    assert record["status"] == "FAILURE"
    assert record["responseBody"] is None
    keys = list(record)
    assert keys[keys.index("responseBody") + 1] == "responseBodyUrl"
    url = record["responseBodyUrl"]
    assert url == f"{own_upload.site.url}/v1/commands/{own_upload.id}/response"
    path = url[len(own_upload.site.url):]
    reply = requestor.get(path)
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert reply.body == body
    assert Client(own_upload.site.url).get(path).status == 401
    assert requestor.search()["hits"][0] == record
    # It is still there after a crash.
    own_upload.site.service.kill()
    own_upload.site.service.start()
    assert own_upload.site.new_requestor().get(path).body == body
    assert own_upload.files() == [f"{own_upload.id}.json"]


def test_ranges_of_a_large_answer(upload):
    body = document(11_000_000)
    upload.put(body)
    upload.end()
    check_ranges(upload.site.requestor, f"/v1/commands/{upload.id}/response", body)


def test_ranges_of_an_answer_in_the_record(service_site):
    record = service_site.requestor.send()
    service_site.agent.end(service_site.agent.receive()[0], body="0123456789")
    check_ranges(service_site.requestor, f"/v1/commands/{record['id']}/response", b'"0123456789"')


def check_ranges(requestor, path, body):
    size = len(body)

    def get(text, **more):
        return requestor.get(path, headers={"Range": text, **more})

    for text, first, last in (("bytes=0-0", 0, 0), ("bytes=3-7", 3, 7), ("bytes=5-", 5, size - 1),
                              ("bytes=-4", size - 4, size - 1),
                              (f"bytes=2-{size + 100}", 2, size - 1),
                              (f"bytes=-{size + 100}", 0, size - 1),
                              (f"bytes={size - 1}-", size - 1, size - 1)):
        reply = get(text)
        assert reply.status == 206, text
        assert reply.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
        assert reply.body == body[first:last + 1], text
    for text in (f"bytes={size}-", f"bytes={size + 5}-{size + 9}", "bytes=-0"):
        reply = get(text)
        assert reply.status == 416, text
        assert reply.headers["Content-Range"] == f"bytes */{size}"
        assert reply.json()["statusCode"] == 416
    for text in ("bytes=7-3", "bytes=0-1,4-5", "lines=1-2", "bytes=", "bytes=a-b", "bytes=-"):
        reply = get(text)
        assert (reply.status, reply.body == body) == (200, True), text
    etag = requestor.get(path).headers["ETag"]
    assert get("bytes=1-2", **{"If-Range": etag}).status == 206
    assert get("bytes=1-2", **{"If-Range": '"other"'}).status == 200
    reply = requestor.request("HEAD", path)
    assert (reply.status, reply.headers["Content-Length"], reply.body) == (200, str(size), b"")


def test_there_is_no_answer_before_there_is_one(service_site):
    record = service_site.requestor.send()
    path = f"/v1/commands/{record['id']}/response"
    reply = service_site.requestor.get(path)
    assert (reply.status, reply.message) == (404, "this command has no answer yet")
    service_site.agent.end(service_site.agent.receive()[0], body=None)
    reply = service_site.requestor.get(path)
    assert (reply.status, reply.message) == (404, "this command has no answer")


def test_a_repeated_upload_replaces_the_one_before(upload):
    assert upload.put(b'{"number": 1}').status == 200
    assert upload.put(b'{"number": 2}').status == 200
    assert upload.files() == [f"{upload.id}.json"]
    upload.end()
    assert upload.site.requestor.record(upload.id)["responseBody"] == {"number": 2}


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_cut_upload_leaves_the_last_whole_one(upload, encoding):
    assert upload.put(b'{"number": 1}').status == 200
    body = document(2_000_000)
    if encoding == "gzip":
        body = gzip.compress(body)
    with socket.create_connection(("127.0.0.1", upload.site.service.port)) as broken:
        broken.sendall((f"PUT {upload.path} HTTP/1.1\r\nHost: x\r\nContent-Encoding: {encoding}\r\n"
                        f"Content-Length: {len(body)}\r\n\r\n").encode() + body[:len(body) // 2])
        wait_for(lambda: len(upload.files()) == 2)  # it is being written
    wait_for(lambda: upload.files() == [f"{upload.id}.json"])
    upload.end()
    assert upload.site.requestor.record(upload.id)["responseBody"] == {"number": 1}


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_no_json_is_refused_and_leaves_the_last_whole_one(upload):
    upload.put(b'{"number": 1}')
    for body, message in ((b"", "empty"), (b'{"a":1,}', "byte 8:"), (b"[1", "not whole"),
                          (b'{"a":"\xff"}', "not UTF-8"), (b"1 2", "behind the value"),
                          (b"[" * 61 + b"]" * 61, "deeper than 60 levels")):
        reply = upload.put(body)
        assert reply.status == 400
        assert reply.message.startswith("the answer is not JSON: ")
        assert message in reply.message
    upload.end()
    assert upload.site.requestor.record(upload.id)["responseBody"] == {"number": 1}


def test_broken_gzip_is_refused(upload):
    whole = gzip.compress(b'{"number": 1}')
    for body, message in ((whole[:-3], "cut short"), (b"no gzip", "the gzip data is broken"),
                          (whole + b"more", "behind its end"),
                          (whole[:-8] + b"\0" * 8, "the gzip data is broken"), (b"", "cut short")):
        reply = upload.put(body, Content_Encoding="gzip")
        assert reply.status == 400, body
        assert message in reply.message, reply.message
    assert upload.put(whole, Content_Encoding="br").status == 415
    assert upload.put(whole, Content_Encoding="gzip").status == 200


def test_an_upload_has_a_limit_after_decompression(service_factory):
    site = Site(service_factory("--max-upload-bytes", "1048576").start())
    upload = Upload(site)
    fits = b'"' + b"x" * (1048576 - 2) + b'"'
    assert upload.put(fits).status == 200
    reply = upload.put(gzip.compress(b'"' + b"x" * 100_000_000 + b'"'), Content_Encoding="gzip")
    assert reply.status == 413
    assert "larger than 1048576 bytes after decompression (MAX_UPLOAD_BYTES" in reply.message
    assert upload.put(fits + b" ").status == 413
    upload.end()
    assert site.requestor.get(f"/v1/commands/{upload.id}/response").body == fits


def test_upload_urls_cannot_be_guessed_and_end_with_their_command(service_site):
    first, second = Upload(service_site), Upload(service_site)
    key = first.path.rsplit("/", 1)[1]
    for path in (first.path[:-1] + ("0" if first.path[-1] != "0" else "1"),
                 second.path.replace(second.path.rsplit("/", 1)[1], key),
                 f"/v1/uploads/{first.id}/x", f"/v1/uploads/x/{key}"):
        reply = first.client.put(path, body=b"1")
        assert reply.status == 404, path
        assert "not valid" in reply.message
    assert first.put(b'{"number": 1}').status == 200
    first.end()
    assert first.put(b'{"number": 2}').status == 404
    assert service_site.requestor.record(first.id)["responseBody"] == {"number": 1}
    assert second.put(b"1").status == 200


def test_left_overs_of_a_crash_are_removed_at_the_next_start(own_upload):
    own_upload.put(b'{"number": 1}')
    site = own_upload.site
    with socket.create_connection(("127.0.0.1", site.service.port)) as broken:
        broken.sendall((f"PUT {own_upload.path} HTTP/1.1\r\nHost: x\r\n"
                        f"Content-Length: 100\r\n\r\n[1,").encode())
        wait_for(lambda: len(own_upload.files()) == 2)
        site.service.kill()
    folder = site.service.db.with_name("commands.db-answers")
    stranger = folder / "notes.txt"
    stranger.write_text("not ours")
    (folder / "01900000-0000-7000-8000-000000000000.json").write_text("1")
    site.service.start()
    assert own_upload.files() == [f"{own_upload.id}.json"]
    assert stranger.read_text() == "not ours"
    assert len(list(folder.iterdir())) == 2
    agent = site.new_agent()
    assert agent.end(own_upload.command, responseBodyDelivery="referenced")["result"] == "accepted"
    assert site.new_requestor().record(own_upload.id)["responseBody"] == {"number": 1}


def test_a_large_upload_does_not_fill_the_memory(own_upload):
    body = b'"' + b"x" * 150_000_000 + b'"'
    assert own_upload.put(gzip.compress(body, 1), Content_Encoding="gzip").status == 200
    own_upload.end()
    assert own_upload.site.requestor.get(f"/v1/commands/{own_upload.id}/response").body == body
    with open(f"/proc/{own_upload.site.service.pid}/status", encoding="ascii") as status:
        peak = int(next(line for line in status if line.startswith("VmHWM")).split()[1])
    if not os.environ.get("SERVICE_WRAPPER") and "san" not in os.environ.get("RELAY_BUILD_DIR", ""):
        assert peak < 40_000
