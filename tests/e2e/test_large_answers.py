"""Answers too large for a status message, from a target that nobody here wrote to the record."""

import base64
import gzip
import json
import random
import time

import brotli
import pytest

from support.fake_service import wrong
from support.raw_target import Gate, Send, answer, text
from support.requestors import answered, failed

MIB = 1024 * 1024


def content_of(size):
    rows = b"".join(b'{"row": "%08d"}\n' % number for number in range(size // 20 + 1))
    return (b"Zo\xc3\xab\n" + rows)[:size]


def stored(requestor, url):
    record = requestor.send({"method": "GET", "url": url})
    assert record["status"] == "SUCCESS", str(record.get("responseBody"))[:600]
    return record, requestor.stored_answer(record)


@pytest.mark.parametrize("size", [MIB - 2000, MIB, MIB + 1, MIB * 3 // 2, 5 * MIB])
def test_an_answer_around_and_over_1_mebibyte_equals_what_the_target_sent(requestor, nginx, size):
    content = content_of(size)
    record, got = stored(requestor, nginx.file(f"large-{size}", content))
    assert got["body"].encode() == content
    assert got["statusCode"] == 200
    assert {"content-length": str(size)} in got["headers"]
    assert "responseBodyUrl" not in record


def test_an_answer_over_10_megabytes_is_streamed_from_its_url(requestor, nginx):
    content = content_of(12 * MIB)
    record, got = stored(requestor, nginx.file("large-12m", content))
    assert "responseBodyUrl" in record and not record.get("responseBody")
    assert got["body"].encode() == content


def test_a_binary_answer_of_1_5_mebibytes_is_whole(requestor, nginx):
    content = bytes(range(256)) * (MIB * 3 // 2 // 256)
    _, got = stored(requestor, nginx.file("large-binary", content))
    assert got["bodyEncoding"] == "base64"
    assert base64.b64decode(got["body"]) == content


def test_an_answer_that_grows_by_escaping_is_uploaded_too(requestor, nginx):
    """Each byte becomes six in JSON: 300 KiB of content, 1.8 MB of message."""
    content = b"\x01" * (300 * 1024)
    _, got = stored(requestor, nginx.file("large-escaped", content))
    assert got["body"].encode() == content


def framings(content):
    size = 100000
    pieces = [content[at:at + size] for at in range(0, len(content), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return {"length": ([], True, content), "close": ([], False, content),
            "chunks": (["Transfer-Encoding: chunked"], False, chunks + b"0\r\n\r\n")}


@pytest.mark.parametrize("is_zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("framing", ["length", "close", "chunks"])
@pytest.mark.parametrize("size", [256 * 1024, 256 * 1024 + 1, 3 * MIB + 5])
def test_a_large_answer_is_whole_however_it_is_framed(requestor, raw, framing, size,
                                                            is_zipped):
    content = random.Random(size).randbytes(size // 2).hex().encode() + b"z" * (size % 2)
    headers, framed, body = framings(gzip.compress(content) if is_zipped else content)[framing]
    headers = [*headers, "Content-Encoding: gzip"] if is_zipped else headers
    url = raw.url(Send(answer(headers=headers, body=body, framed=framed), keep=framed))
    _, got = stored(requestor, url)
    assert got["body"].encode() == content
    assert len(raw.requests(url)) == 1


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_large_answer_that_ends_early_is_a_failure(requestor, raw, framing):
    headers, framed, body = framings(content_of(3 * MIB))[framing]
    whole = answer(headers=headers, body=body, framed=framed)
    for cut in (6, 2 * MIB):
        url = raw.url(Send(whole[:-cut]))
        assert failed(requestor.send({"method": "POST", "url": url}))
        assert len(raw.requests(url)) == 1


def test_a_large_answer_with_a_failure_status_stays_a_failure(requestor, raw):
    body = "x" * (2 * MIB)
    record = requestor.send({"method": "GET", "url": raw.url(text(body, "500 Oops"))})
    assert record["status"] == "FAILURE"
    assert requestor.stored_answer(record)["body"] == body
    assert requestor.stored_answer(record)["statusCode"] == 500


def test_small_answers_go_ahead_of_a_large_one(requestor, nginx, raw):
    url = nginx.file("large-and-small", content_of(8 * MIB))
    large = requestor.submit({"method": "GET", "url": url})
    small = requestor.send_all([{"method": "GET", "url": raw.url(text("small"))}] * 10)
    assert {answered(record)["body"] for record in small} == {"small"}
    assert len(requestor.stored_answer(requestor.wait(large["id"]))["body"].encode()) == 8 * MIB


@pytest.mark.timing
def test_small_answers_go_ahead_of_what_a_few_bytes_become(fake, fake_agent, raw):
    """Each of these is 90 bytes of brotli that are 60 MiB, a fifth of a second of work."""
    gate = Gate(answer(headers=["Content-Encoding: br"], body=brotli.compress(b" " * (60 * MIB))))
    url = raw.url(gate)
    fake_agent(MAX_IN_FLIGHT_PER_HOST=20, DRAIN_SECONDS=0)
    large = [fake.give({"method": "GET", "url": url}) for _ in range(8)]
    raw.wait_for(url, 8)
    gate.open.set()
    longest = 0
    for _ in range(5):
        begun = time.monotonic()
        small = fake.send({"method": "GET", "url": raw.url(text("small"))})
        assert small["body"]["body"] == "small"
        longest = max(longest, time.monotonic() - begun)
    assert not any(command_id == update["commandId"]
                   for command_id in large for update in fake.updates), "or this shows nothing"
    assert longest < 0.5, f"a small one took {longest:.2f} s"


# -- the upload itself --------------------------------------------------------------

def upload(fake, size, raw, **fields):
    return fake.send({"method": "GET", "url": raw.url(text("x" * size))},
                     responseBodyUploadUrl=fake.url + "/upload/secret", **fields)


def test_a_message_over_1_mebibyte_is_uploaded_as_the_json_of_its_body(fake, fake_agent, raw):
    fake_agent()
    update = upload(fake, 2 * MIB, raw)
    assert update["status"] == "SUCCESS"
    assert update["responseBodyDelivery"] == "referenced"
    assert "body" not in update
    headers, content = fake.uploads["/upload/secret"]
    if headers.get("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    answer = json.loads(content)
    assert answer["body"] == "x" * (2 * MIB)
    assert answer["statusCode"] == 200
    assert "fake-token" not in repr(headers) and "x-org-slug" not in {n.lower() for n in headers}


def test_a_message_that_fits_is_not_uploaded(fake, fake_agent, raw):
    fake_agent()
    update = upload(fake, MIB - 4096, raw)
    assert update["body"]["body"] == "x" * (MIB - 4096)
    assert fake.uploads == {}


def test_a_failed_upload_is_tried_again(fake, fake_agent, raw):
    fake_agent()
    fake.upload_faults[:] = [wrong(500)]
    update = upload(fake, 2 * MIB, raw)
    assert update["responseBodyDelivery"] == "referenced"
    assert "/upload/secret" in fake.uploads
