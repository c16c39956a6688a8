"""commands.md 4: request bodies, to the byte."""

import base64
import json

import pytest

from support.requestors import answered

# Every byte value of one-byte UTF-8 text, with what JSON must escape, and beyond it.
AWKWARD = "".join(map(chr, range(128))) + "äöü€ 東京 😀 \u2028\ufeff"
BINARY = bytes(range(256)) * 4


def send(requestor, url, body, method="POST", headers=None):
    payload = {"method": method, "url": url, "body": body}
    if headers is not None:
        payload["headers"] = headers
    return answered(requestor.send(payload))


def request_with(requestor, raw, body, **options):
    url = raw.url()
    send(requestor, url, body, **options)
    return raw.only(url)


def echo(requestor, httpbin, body, **options):
    return json.loads(send(requestor, httpbin.url("/anything"), body, **options)["body"])


def content_types(request):
    return [value for name, value in request.headers if name.lower() == "content-type"]


def raw_body(value):
    return {"mode": "raw", "raw": value}


# -- raw ----------------------------------------------------------------------------

def test_a_raw_string_arrives_at_httpbin_as_it_was_given(requestor, httpbin):
    content = 'line one\r\nline "two"\n\ttab \\ back\u0000 äöü 東京'
    seen = echo(requestor, httpbin, raw_body(content))
    assert seen["data"] == content
    assert seen["method"] == "POST"
    assert seen["headers"]["Content-Length"] == str(len(content.encode()))


@pytest.mark.parametrize("content", ["", " ", "\0", AWKWARD, '{"a":  1 }\n', "\r\n\r\n"])
def test_a_raw_string_is_sent_byte_for_byte(requestor, raw, content):
    request = request_with(requestor, raw, raw_body(content))
    assert request.body == content.encode()
    assert ("Content-Length", str(len(content.encode()))) in request.headers


def test_a_raw_body_of_one_mebibyte_arrives_whole_and_without_expect(requestor, raw):
    content = (AWKWARD * 10000)[:1024 * 1024 - 1000]
    content += "x" * (1024 * 1024 - len(content))
    request = request_with(requestor, raw, raw_body(content))
    assert request.body == content.encode()
    assert not [value for name, value in request.headers if name.lower() == "expect"]


def test_a_raw_body_of_5_mebibytes_arrives_whole(requestor, raw):
    content = "0123456789abcdé\n" * (5 * 1024 * 1024 // 17)
    assert request_with(requestor, raw, raw_body(content)).body == content.encode()


@pytest.mark.parametrize("value", [
    {"b": 1, "a": [1.5, 9007199254740993, 18446744073709551615, True, False, None], "": {}},
    [], {}, [[[]]], {"text": AWKWARD}, {"z": 1, "y": 2, "x": 3}])
def test_an_object_or_array_is_serialised(requestor, raw, value):
    request = request_with(requestor, raw, raw_body(value))
    pairs = json.loads(request.body, object_pairs_hook=list)
    assert pairs == json.loads(json.dumps(value), object_pairs_hook=list)
    assert content_types(request) == ["application/json"]


@pytest.mark.parametrize("content, content_type", [
    ('{"a": 1}', "application/json"), (" [1, 2]\n", "application/json"),
    ('"text"', "application/json"), ("12.5e3", "application/json"), ("null", "application/json"),
    ("hello", "text/plain; charset=utf-8"), ("", "text/plain; charset=utf-8"),
    ("{a: 1}", "text/plain; charset=utf-8"), ('{"a": 1} x', "text/plain; charset=utf-8"),
    ("NaN", "text/plain; charset=utf-8"), ("{'a': 1}", "text/plain; charset=utf-8"),
    ("[1,]", "text/plain; charset=utf-8"), ("<a/>", "text/plain; charset=utf-8")])
def test_without_a_content_type_the_text_decides(requestor, raw, content, content_type):
    request = request_with(requestor, raw, raw_body(content))
    assert content_types(request) == [content_type]


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
def test_a_given_content_type_is_kept_and_sent_once(requestor, raw, name):
    request = request_with(requestor, raw, raw_body('{"a": 1}'),
                           headers={name: "application/vnd.mine+json"})
    assert content_types(request) == ["application/vnd.mine+json"]


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "PUT", "PATCH", "HEAD"])
def test_a_body_is_sent_with_every_method(requestor, raw, method):
    request = request_with(requestor, raw, raw_body("with a body"), method=method)
    assert request.line.startswith(method + " ")
    assert request.body == b"with a body"
    assert ("Content-Length", "11") in request.headers


def test_httpbin_sees_the_body_of_a_get_and_a_delete(requestor, httpbin):
    for method in ("GET", "DELETE"):
        seen = echo(requestor, httpbin, raw_body("hello"), method=method)
        assert (seen["method"], seen["data"]) == (method, "hello")


def test_no_body_and_null_send_none(requestor, raw):
    for method in ("GET", "POST", "PUT", "DELETE"):
        request = request_with(requestor, raw, None, method=method)
        assert request.body == b""
        assert content_types(request) == []
        assert not [name for name, _ in request.headers if name.lower() == "transfer-encoding"]


# -- formdata -----------------------------------------------------------------------

def form(*rows):
    return {"mode": "formdata", "formdata": list(rows)}


def row(key, value, **more):
    return {"key": key, "value": value, **more}


def parts_of(request):
    """(header lines, content) of each part, exactly as it was sent."""
    (content_type,) = content_types(request)
    kind, boundary = content_type.split("boundary=")
    assert kind == "multipart/form-data; "
    mark = b"--" + boundary.encode()
    assert request.body.startswith(mark + b"\r\n")
    assert request.body.endswith(b"\r\n" + mark + b"--\r\n")
    inner = request.body[len(mark) + 2:-len(mark) - 6]
    parts = [piece.split(b"\r\n\r\n", 1) for piece in inner.split(b"\r\n" + mark + b"\r\n")]
    return [(head.decode().split("\r\n"), content) for head, content in parts]


def disposition(name, filename=None):
    line = f'Content-Disposition: form-data; name="{name}"'
    return line if filename is None else f'{line}; filename="{filename}"'


def test_form_fields_arrive_at_httpbin(requestor, httpbin):
    seen = echo(requestor, httpbin, form(row("a", "1"), row("ä €", "東京"), row("empty", "")))
    assert seen["form"] == {"a": "1", "ä €": "東京", "empty": ""}
    assert seen["headers"]["Content-Type"].startswith("multipart/form-data; boundary=")


def test_form_fields_keep_their_order_and_repetitions(requestor, raw):
    rows = [row("z", "1"), row("a", "2"), row("z", "3"), row("empty", ""), row("ä", "ö\r\n")]
    request = request_with(requestor, raw, form(*rows))
    assert parts_of(request) == [([disposition(each["key"])], each["value"].encode())
                                 for each in rows]


def test_other_values_are_serialised_as_json(requestor, raw):
    values = [1, -0.5, True, False, None, {"b": [1, "x"], "a": None}, []]
    request = request_with(requestor, raw, form(*[row("v", value) for value in values]))
    parts = parts_of(request)
    assert [json.loads(content) for _, content in parts] == values
    assert [content for _, content in parts][:5] == [b"1", b"-0.5", b"true", b"false", b"null"]
    assert {tuple(head) for head, _ in parts} == {(disposition("v"),)}


def test_a_file_part_carries_its_name_type_and_decoded_bytes(requestor, raw):
    request = request_with(requestor, raw, form(
        row("note", "before"),
        row("file", base64.b64encode(BINARY).decode(), filename="data.bin",
            contentType="application/x-mine", encoding="base64"),
        row("text", "a,b\n1,2\n", filename="table.csv", contentType="text/csv")))
    assert parts_of(request) == [
        ([disposition("note")], b"before"),
        ([disposition("file", "data.bin"), "Content-Type: application/x-mine"], BINARY),
        ([disposition("text", "table.csv"), "Content-Type: text/csv"], b"a,b\n1,2\n")]


def test_httpbin_takes_a_file_part_for_a_file(requestor, httpbin):
    seen = echo(requestor, httpbin, form(
        row("field", "f"), row("up", base64.b64encode("Zoë".encode()).decode(), encoding="base64",
                               filename="näme.txt", contentType="text/plain")))
    assert seen["files"] == {"up": "Zoë"}
    assert seen["form"] == {"field": "f"}


def test_a_content_type_alone_is_sent_with_its_part(requestor, raw):
    request = request_with(requestor, raw, form(row("j", {"a": 1}, contentType="application/json")))
    ((head, content),) = parts_of(request)
    assert head == [disposition("j"), "Content-Type: application/json"]
    assert json.loads(content) == {"a": 1}


def test_disabled_rows_are_left_out(requestor, raw):
    request = request_with(requestor, raw, form(
        row("a", "1", disabled=False), row("b", "2", disabled=True), row("c", "3"),
        row("d", "4", filename="d", disabled=True)))
    assert [head for head, _ in parts_of(request)] == [[disposition("a")], [disposition("c")]]


def test_quotes_in_names_cannot_break_out_of_them(requestor, raw):
    request = request_with(requestor, raw, form(
        row('a"b', "1"), row("c", "2", filename='d"; x="e.txt', contentType="text/plain"),
        row("back\\slash", "3")))
    assert [head[0] for head, _ in parts_of(request)] == [
        disposition("a%22b"), disposition("c", "d%22; x=%22e.txt"), disposition("back\\slash")]


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\r\nContent-Type: x", "a\0b"])
def test_a_line_break_in_a_name_or_filename_is_refused(requestor, raw, bad):
    for body in (form(row(bad, "v")), form(row("k", "v", filename=bad))):
        url = raw.url()
        record = requestor.send({"method": "POST", "url": url, "body": body})
        assert record["status"] == "REJECTED"
        assert record["responseBody"]["code"] == "INVALID_PAYLOAD"
        assert "body.formdata[0]" in record["responseBody"]["message"]
        assert raw.requests(url) == []


def test_a_content_type_of_the_requestor_cannot_replace_the_boundary(requestor, raw):
    request = request_with(requestor, raw, form(row("a", "1")),
                           headers={"Content-Type": "multipart/form-data", "X-Other": "kept"})
    assert parts_of(request) == [([disposition("a")], b"1")]
    assert ("X-Other", "kept") in request.headers


def test_a_form_part_that_looks_like_a_boundary_stays_one_part(requestor, httpbin):
    value = "--\r\n--------------------------0000\r\nContent-Disposition: form-data; name=\"x\""
    assert echo(requestor, httpbin, form(row("a", value)))["form"] == {"a": value}


def test_a_large_file_part_arrives_whole(requestor, raw):
    content = BINARY * 1024
    request = request_with(requestor, raw, form(
        row("f", base64.b64encode(content).decode(), filename="f", encoding="base64",
            contentType="application/octet-stream")))
    assert parts_of(request)[0][1] == content


# -- urlencoded ---------------------------------------------------------------------

def urlencoded(*rows):
    return {"mode": "urlencoded", "urlencoded": list(rows)}


@pytest.mark.parametrize("key, value, expected", [
    ("a b", "c+d", b"a+b=c%2Bd"), ("ä", "ö€😀", b"%C3%A4=%C3%B6%E2%82%AC%F0%9F%98%80"),
    ("*-._", "~!'()", b"*-._=%7E%21%27%28%29"), ("", "no key", b"=no+key"), ("empty", "", b"empty="),
    ("nul", "\0", b"nul=%00"), ("&=", "%&=;", b"%26%3D=%25%26%3D%3B"), ("nl", "a\r\nb", b"nl=a%0D%0Ab"),
    ("az", "AZ09az", b"az=AZ09az"), ("/?:@", "#[]$,\"<>\\^`{|}\x7f",
     b"%2F%3F%3A%40=%23%5B%5D%24%2C%22%3C%3E%5C%5E%60%7B%7C%7D%7F")])
def test_urlencoded_bytes_follow_the_whatwg_rules(requestor, raw, key, value, expected):
    request = request_with(requestor, raw, urlencoded(row(key, value)))
    assert request.body == expected
    assert content_types(request) == ["application/x-www-form-urlencoded"]


def test_urlencoded_rows_keep_their_order_and_disabled_ones_are_left_out(requestor, raw):
    request = request_with(requestor, raw, urlencoded(
        row("z", "1"), row("a", "2"), row("off", "x", disabled=True), row("z", "3"), row("n", 4),
        row("t", True), row("on", "5", disabled=False)))
    assert request.body == b"z=1&a=2&z=3&n=4&t=true&on=5"


def test_no_rows_are_an_empty_body(requestor, raw):
    request = request_with(requestor, raw, urlencoded())
    assert request.body == b""
    assert ("Content-Length", "0") in request.headers


def test_httpbin_reads_an_urlencoded_form(requestor, httpbin):
    seen = echo(requestor, httpbin, urlencoded(
        row("a b", "c&d=e"), row("ä", "東 京"), row("empty", ""), row("two", "1"), row("two", "2")))
    assert seen["form"] == {"a b": "c&d=e", "ä": "東 京", "empty": "", "two": ["1", "2"]}
