"""commands.md 6: what a target's answer becomes."""

import base64
import gzip
import json
import zlib

import brotli
import pytest

from support.raw_target import Send, answer, text
from support.requestors import answered, headers_named

PICTURE = bytes.fromhex("89504e470d0a1a0a") + bytes(range(256))


def get(requestor, url, method="GET", status="SUCCESS", **fields):
    return answered(requestor.send({"method": method, "url": url, **fields}), status)


def names(answer_):
    return [name for header in answer_["headers"] for name in header]


def said(requestor, raw, *args, status="SUCCESS", **kwargs):
    """The relayed form of an answer that a raw target gives."""
    return get(requestor, raw.url(Send(answer(*args, **kwargs))), status=status)


# -- status -------------------------------------------------------------------------

@pytest.mark.parametrize("code", [200, 201, 202, 203, 206, 226, 299, 300, 302, 304, 399])
def test_200_to_399_is_success(requestor, raw, code):
    got = said(requestor, raw, f"{code} Fine", body=b"" if code == 304 else b"b", framed=code != 304)
    assert got["statusCode"] == code


@pytest.mark.parametrize("code", [400, 401, 403, 404, 407, 418, 429, 499, 500, 502, 503, 504, 599])
def test_400_and_more_is_failure_with_the_targets_answer(requestor, raw, code):
    got = said(requestor, raw, f"{code} Bad", ["X-Why: because"], b"reason", status="FAILURE")
    assert got["statusCode"] == code
    assert got["body"] == "reason"
    assert headers_named(got, "x-why") == ["because"]


def test_httpbins_status_is_relayed(requestor, httpbin):
    for code, status in ((204, "SUCCESS"), (404, "FAILURE"), (500, "FAILURE")):
        assert get(requestor, httpbin.url(f"/status/{code}"), status=status)["statusCode"] == code


# -- headers ------------------------------------------------------------------------

def test_headers_come_one_object_a_name_in_order_with_names_in_lower_case(requestor, raw):
    got = said(requestor, raw, headers=["X-Zulu: 1", "x-alpha: 2", "X-MIKE:3", "Server: s"])
    assert got["headers"] == [{"x-zulu": "1"}, {"x-alpha": "2"}, {"x-mike": "3"}, {"server": "s"},
                              {"content-length": "0"}]


def test_repeated_headers_are_joined_where_the_first_stood(requestor, raw):
    got = said(requestor, raw, headers=["Via: a", "X-Other: o", "via: b", "VIA: c, d"])
    assert got["headers"] == [{"via": "a, b, c, d"}, {"x-other": "o"}, {"content-length": "0"}]


def test_set_cookie_is_always_an_array(requestor, raw):
    got = said(requestor, raw, headers=["Set-Cookie: a=1; Path=/", "X: y", "set-cookie: b=2, 3"])
    assert got["headers"] == [{"set-cookie": ["a=1; Path=/", "b=2, 3"]}, {"x": "y"},
                              {"content-length": "0"}]
    got = said(requestor, raw, headers=["Set-Cookie: only=1"])
    assert got["headers"] == [{"set-cookie": ["only=1"]}, {"content-length": "0"}]


def test_an_empty_header_and_white_space_around_values(requestor, raw):
    got = said(requestor, raw, headers=["X-Empty:", "X-Blank:   ", "X-Spaces:   a  b  "])
    assert got["headers"][:3] == [{"x-empty": ""}, {"x-blank": ""}, {"x-spaces": "a  b"}]


def test_httpbins_cookies_are_relayed(requestor, httpbin):
    got = get(requestor, httpbin.url("/cookies/set?a=1&b=2"), max_redirects=0)
    assert got["statusCode"] == 302
    (cookies,) = headers_named(got, "set-cookie")
    assert sorted(cookies) == ["a=1; Path=/", "b=2; Path=/"]


def test_trailers_are_not_headers(requestor, raw):
    chunked = answer(headers=["Transfer-Encoding: chunked", "Trailer: X-Late"], framed=False)
    got = get(requestor, raw.url(Send(chunked + b"2\r\nhi\r\n0\r\nX-Late: 1\r\n\r\n")))
    assert got["body"] == "hi"
    assert "x-late" not in names(got)


# -- bodies -------------------------------------------------------------------------

def test_a_json_answer_is_that_text_not_reformatted(requestor, raw):
    body = '{ "b" :1.0,\n\t"a": [ 1e2 , "\\u00e4ä" ],"b":2 }\r\n'.encode()
    got = said(requestor, raw, headers=["Content-Type: application/json"], body=body)
    assert got["body"].encode() == body
    assert "bodyEncoding" not in got


@pytest.mark.parametrize("body", [
    "".join(map(chr, range(128))).encode(), "äöü€ 東京 😀\u2028\ufeff\uffff".encode(),
    b"\0", b"\r\n\r\n", b'"\\/'])
def test_utf8_bytes_are_relayed_as_they_are(requestor, raw, body):
    got = said(requestor, raw, body=body, headers=["Content-Type: text/plain; charset=latin-1"])
    assert got["body"].encode() == body
    assert "bodyEncoding" not in got


@pytest.mark.parametrize("body", [
    PICTURE, b"\xff", b"caf\xe9", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok\xc3",
    bytes(range(256)) * 100, b"\xe2\x82"])
def test_bytes_that_are_no_utf8_become_base64(requestor, raw, body):
    got = said(requestor, raw, body=body, headers=["Content-Type: text/plain"])
    assert got["bodyEncoding"] == "base64"
    assert base64.b64decode(got["body"], validate=True) == body


def test_httpbins_picture_and_bytes_are_whole(requestor, httpbin):
    got = get(requestor, httpbin.url("/image/png"))
    assert got["bodyEncoding"] == "base64"
    assert base64.b64decode(got["body"]).startswith(PICTURE[:8])
    assert headers_named(got, "content-type") == ["image/png"]


def test_an_empty_body_is_an_empty_string(requestor, raw):
    got = said(requestor, raw)
    assert (got["body"], got["statusCode"]) == ("", 200)
    assert "bodyEncoding" not in got


def test_204_and_304_have_no_body(requestor, raw, nginx):
    for code in ("204 No Content", "304 Not Modified"):
        got = said(requestor, raw, code, ["ETag: \"x\""], framed=False)
        assert got["body"] == ""
        assert headers_named(got, "etag") == ['"x"']
    got = get(requestor, nginx.url("plain", "not-modified"))
    assert (got["statusCode"], got["body"]) == (304, "")


def test_head_has_an_empty_body_and_keeps_the_length(requestor, nginx):
    got = get(requestor, nginx.file("head", b"x" * 1234), "HEAD")
    assert (got["statusCode"], got["body"]) == (200, "")
    assert headers_named(got, "content-length") == ["1234"]


def test_1xx_answers_before_the_final_one_are_skipped(requestor, raw):
    early = (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"
             b"Set-Cookie: no=1\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
    got = get(requestor, raw.url(Send(early + answer("201 Created", ["X: y"], b"final"))))
    assert (got["statusCode"], got["body"]) == (201, "final")
    assert got["headers"] == [{"x": "y"}, {"content-length": "5"}]


def test_chunks_are_put_together(requestor, raw, httpbin):
    head = answer(headers=["Transfer-Encoding: chunked"], framed=False)
    body = b"5;ext=1\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n"
    assert get(requestor, raw.url(Send(head + body)))["body"] == "hello world"
    lines = get(requestor, httpbin.url("/stream/7"))["body"].splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(7))


def test_a_body_without_length_ends_with_the_connection(requestor, raw):
    assert get(requestor, raw.url(Send(answer(framed=False) + b"until the end")))["body"] == \
        "until the end"
    old = b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nold"
    got = get(requestor, raw.url(Send(old)))
    assert (got["body"], got["headers"]) == ("old", [{"x": "y"}])


def test_5_mebibytes_arrive_whole(requestor, nginx):
    content = b"0123456789abcde\n" * (5 * 65536)
    record = requestor.send({"method": "GET", "url": nginx.file("text-5m", content)})
    assert record["status"] == "SUCCESS"
    assert requestor.stored_answer(record)["body"].encode() == content


# -- content encodings --------------------------------------------------------------

PLAIN_TEXT = "Zoë, encoded. " * 100


def deflate(data):
    return zlib.compress(data)


def zstd_frame(data):
    """One raw block: a zstd frame needs no compressor."""
    return (b"\x28\xb5\x2f\xfd\x60" + (len(data) - 256).to_bytes(2, "little")
            + (len(data) << 3 | 1).to_bytes(3, "little") + data)


@pytest.mark.parametrize("encoding, encode", [
    ("gzip", gzip.compress), ("deflate", deflate), ("br", brotli.compress), ("zstd", zstd_frame)])
def test_an_encoded_body_is_decoded_and_its_headers_left_out(requestor, raw, encoding, encode):
    body = encode(PLAIN_TEXT.encode())
    got = said(requestor, raw, body=body,
               headers=["X-Before: 1", f"Content-Encoding: {encoding}", "Vary: Accept-Encoding"])
    assert got["body"] == PLAIN_TEXT
    assert got["headers"] == [{"x-before": "1"}, {"vary": "Accept-Encoding"}]


@pytest.mark.parametrize("path, flag", [("/gzip", "gzipped"), ("/deflate", "deflated"),
                                        ("/brotli", "brotli")])
def test_httpbins_encoded_answers_are_decoded(requestor, httpbin, path, flag):
    got = get(requestor, httpbin.url(path))
    assert json.loads(got["body"])[flag] is True
    assert not {"content-encoding", "content-length"} & set(names(got))


def test_a_decoded_body_may_be_binary(requestor, raw):
    got = said(requestor, raw, headers=["Content-Encoding: gzip"], body=gzip.compress(PICTURE))
    assert got["bodyEncoding"] == "base64"
    assert base64.b64decode(got["body"]) == PICTURE


def test_identity_is_no_encoding(requestor, raw):
    got = said(requestor, raw, headers=["Content-Encoding: identity"], body=b"plain")
    assert got["body"] == "plain"


def test_an_unknown_encoding_is_relayed_untouched(requestor, raw):
    got = said(requestor, raw, headers=["Content-Encoding: x-mine"], body=b"%%%")
    assert got["body"] == "%%%"
    assert headers_named(got, "content-encoding") == ["x-mine"]
    assert headers_named(got, "content-length") == ["3"]


def test_head_of_an_encoded_answer_is_no_broken_body(requestor, raw):
    head = answer(headers=["Content-Encoding: gzip", "Content-Length: 99"], framed=False)
    got = get(requestor, raw.url(Send(head)), "HEAD")
    assert (got["statusCode"], got["body"]) == (200, "")


def test_an_empty_encoded_answer_is_empty(requestor, raw):
    for status in ("200 OK", "204 No Content"):
        got = said(requestor, raw, status, ["Content-Encoding: gzip"], framed=status[0:3] == "200")
        assert got["body"] == ""


def test_the_accepted_encodings_are_offered(requestor, raw):
    url = raw.url(text())
    get(requestor, url)
    (offer,) = [value for name, value in raw.only(url).headers if name.lower() == "accept-encoding"]
    assert {"gzip", "deflate", "br", "zstd"} == {word.strip() for word in offer.split(",")}
