"""commands.md 3: which request a payload makes, and what is refused."""

import re

import pytest

from support.raw_target import Hang, text
from support.requestors import answered, failed, rejected

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


def request_of(requestor, raw, **payload):
    """The request that arrives at a target for this payload."""
    url = raw.url()
    answered(requestor.send({"method": "GET", "url": url, **payload}))
    return raw.only(url)


def sent(request, *names):
    """Name and value of the requestor's own headers, in order."""
    return [(name, value) for name, value in request.headers
            if name.lower() in {wanted.lower() for wanted in names}]


def invalid(requestor, payload):
    """The message of a refused payload."""
    reason = rejected(requestor.send(payload))
    assert reason["code"] == "INVALID_PAYLOAD"
    return reason["message"]


@pytest.mark.parametrize("method", METHODS)
def test_each_method_is_sent_in_capitals_whatever_its_letter_case(requestor, raw, method):
    for written in (method, method.lower(), method.capitalize()):
        request = request_of(requestor, raw, method=written)
        assert request.line.split(" ")[0] == method
        assert request.line.endswith(" HTTP/1.1")
        assert request.body == b""


def test_an_escaped_path_goes_out_byte_for_byte(requestor, raw):
    for tail in ("/x%2Fy%3F", "/a;b=c,d/e:f@g", "/%C3%A4%2f", "//double//", "/~tilde'()*!"):
        url = raw.url() + tail
        answered(requestor.send({"method": "GET", "url": url}))
        assert raw.only(url).line.split(" ")[1].split("/", 2)[2] == tail[1:]


def test_a_query_goes_out_byte_for_byte(requestor, raw):
    for query in ("a=1&a=2&b=&c", "q=%C3%A4%20+%2F", "x=a'b(c)!*~$,;:@/?", "%00=%0A"):
        url = raw.url()
        answered(requestor.send({"method": "GET", "url": f"{url}?{query}"}))
        assert raw.only(url).line.split(" ")[1].split("?", 1)[1] == query


def test_a_fragment_is_not_sent(requestor, raw):
    url = raw.url()
    answered(requestor.send({"method": "GET", "url": url + "#part"}))
    assert "#" not in raw.only(url).line


def test_user_and_password_of_the_url_are_sent_as_basic_authentication(requestor, raw):
    url = raw.url()
    answered(requestor.send({"method": "GET", "url": url.replace("://", "://ann:s%20t@")}))
    assert sent(raw.only(url), "authorization") == [("Authorization", "Basic YW5uOnMgdA==")]


# -- headers ------------------------------------------------------------------------

def test_headers_of_an_object_are_sent_in_their_order(requestor, raw):
    headers = {"X-Zulu": "1", "x-alpha": "2", "X-Mike": "3"}
    request = request_of(requestor, raw, headers=headers)
    assert sent(request, *headers) == list(headers.items())


def test_headers_of_an_array_are_sent_in_their_order_and_repeated(requestor, raw):
    headers = [{"X-B": "1"}, {"X-A": "2", "X-C": "3"}, {"X-B": "4"}, {"x-b": "5"}]
    request = request_of(requestor, raw, headers=headers)
    assert sent(request, "x-a", "x-b", "x-c") == [
        ("X-B", "1"), ("X-A", "2"), ("X-C", "3"), ("X-B", "4"), ("x-b", "5")]


def test_an_array_of_values_sends_the_header_once_for_each(requestor, raw):
    headers = {"X-Many": ["one", 2, True, "two, three"], "X-After": "end"}
    request = request_of(requestor, raw, headers=headers)
    assert sent(request, "x-many", "x-after") == [
        ("X-Many", "one"), ("X-Many", "2"), ("X-Many", "true"), ("X-Many", "two, three"),
        ("X-After", "end")]


def test_numbers_and_booleans_are_sent_as_their_json_text(requestor, raw):
    headers = {"X-Int": 42, "X-Minus": -7, "X-Half": 0.5, "X-Big": 9007199254740993,
               "X-Yes": True, "X-No": False}
    request = request_of(requestor, raw, headers=headers)
    assert sent(request, *headers) == [
        ("X-Int", "42"), ("X-Minus", "-7"), ("X-Half", "0.5"), ("X-Big", "9007199254740993"),
        ("X-Yes", "true"), ("X-No", "false")]


def test_an_empty_value_is_sent_as_an_empty_header(requestor, raw):
    request = request_of(requestor, raw, headers={"X-Empty": "", "X-Next": "n"})
    assert sent(request, "x-empty", "x-next") == [("X-Empty", ""), ("X-Next", "n")]


def test_a_header_value_in_utf8_arrives_as_the_same_bytes(requestor, raw):
    request = request_of(requestor, raw, headers={"X-Name": "Zoë 東京"})
    assert "X-Name: Zoë 東京\r\n".encode() in request.raw


@pytest.mark.parametrize("size", [15000, 17000, 40000, 140000, 600000])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_long_head_without_a_body_arrives_whole_over_tls(requestor, raw_tls, method, size):
    """libcurl sends it by way of a buffer of its own."""
    url = raw_tls.url()
    answered(requestor.send({"method": method, "url": url, "timeout": 10000,
                             "headers": {"X-Long": "l" * size, "X-Last": "here"}}))
    request = raw_tls.only(url)
    assert ("X-Long", "l" * size) in request.headers and ("X-Last", "here") in request.headers


def test_an_empty_array_or_object_sends_no_header(requestor, raw):
    for headers in ({"X-None": []}, {}, [], [{}]):
        assert sent(request_of(requestor, raw, headers=headers), "x-none") == []


def test_framing_headers_of_the_requestor_are_dropped(requestor, raw):
    request = request_of(
        requestor, raw, method="POST", body={"mode": "raw", "raw": "12345"},
        headers={"content-length": "3", "Transfer-Encoding": "chunked", "connection": "close",
                 "EXPECT": "100-continue", "X-Kept": "yes"})
    assert sorted(sent(request, "content-length", "x-kept")) == [
        ("Content-Length", "5"), ("X-Kept", "yes")]
    assert sent(request, "transfer-encoding", "connection", "expect") == []
    assert request.body == b"12345"


def test_host_may_be_set(requestor, raw, nginx):
    request = request_of(requestor, raw, headers={"Host": "lims.example:8443"})
    assert sent(request, "host") == [("Host", "lims.example:8443")]
    record = requestor.send({"method": "GET", "url": nginx.url("plain", "echo-host"),
                             "headers": [{"host": "virtual.example"}]})
    assert answered(record)["body"] == "virtual.example"


def test_headers_that_the_agent_sets_by_itself_can_be_replaced(requestor, raw):
    own = {"User-Agent": "mine/1", "Accept": "text/x-mine"}
    request = request_of(requestor, raw, headers=own)
    assert sorted(sent(request, *own)) == sorted(own.items())


def test_a_target_is_told_once_who_asks(requestor, raw):
    (_, agent), = sent(request_of(requestor, raw), "user-agent")
    assert re.fullmatch(r"relay-agent/\d+\.\d+\.\d+", agent)
    request = request_of(requestor, raw, headers={"user-agent": ""})
    assert [value for _, value in sent(request, "user-agent")] == [""]


def test_no_credentials_of_ours_go_to_a_target(requestor, raw):
    request = request_of(requestor, raw)
    names = {name.lower() for name, _ in request.headers}
    assert names <= {"host", "user-agent", "accept", "accept-encoding"}


# -- limits -------------------------------------------------------------------------

def test_a_timeout_of_zero_means_the_configured_maximum(site, raw):
    requestor = site.start(REQUEST_TIMEOUT_MS=100, MAX_TIMEOUT_MS=700).requestor
    cases = {0: 700, 600000: 700, 701: 700, 300: 300, None: 100}
    for asked, got in cases.items():
        payload = {"method": "GET", "url": raw.url(Hang())}
        if asked is not None:
            payload["timeout"] = asked
        assert failed(requestor.send(payload)) == {
            "code": "ECONNABORTED",
            "message": "An error occurred while handling the command: Error making request: The "
                       "request was made by the HTTP Relay but no response was received. "
                       f"Additional info: timeout of {got}ms exceeded"}


# -- what is refused ----------------------------------------------------------------

@pytest.mark.parametrize("url", [
    "file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1:70/", "dict://127.0.0.1/",
    "FILE:///etc/passwd", "ws://127.0.0.1/", "127.0.0.1:80", "/etc/passwd", "//127.0.0.1/", "",
    "http://", "http:///path", "http://127.0.0.1:99999/", "javascript:alert(1)",
    "data:text/plain,hello", "http://exa mple/", "http://127.0.0.1:http/"])
def test_nothing_but_an_absolute_http_url_is_opened(requestor, url):
    assert "url: " in invalid(requestor, {"method": "GET", "url": url})


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "", "GET ", "G\r\nET", "FETCH"])
def test_other_methods_are_refused(requestor, raw, method):
    url = raw.url()
    assert "method: " in invalid(requestor, {"method": method, "url": url})
    assert raw.requests(url) == []


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\r\nX-Evil: 1", "a\x00b", "\n"])
def test_a_header_value_with_a_line_break_or_nul_is_refused(requestor, raw, value):
    url = raw.url()
    for headers in ({"X-Bad": value}, [{"X-Bad": value}], {"X-Bad": ["fine", value]}):
        message = invalid(requestor, {"method": "GET", "url": url, "headers": headers})
        assert "headers" in message and "X-Bad" in message
        assert "\r" not in message and "\n" not in message
    assert raw.requests(url) == []


@pytest.mark.parametrize("name", ["", "X Y", "X:Y", "X\r\nY", "Zoë", "X-Evil: 1\r\nX", "(x)"])
def test_a_header_name_that_is_no_token_is_refused(requestor, raw, name):
    url = raw.url()
    message = invalid(requestor, {"method": "GET", "url": url, "headers": {name: "v"}})
    assert "headers" in message
    assert raw.requests(url) == []


def test_every_problem_is_named_with_its_path_not_only_the_first(requestor):
    message = invalid(requestor, {
        "method": 5, "url": "file:///etc/passwd", "timeout": "soon", "max_redirects": [],
        "ignore_tls_certificate": "yes",
        "headers": [{"X-Good": "1"}, {"X-Object": {"a": 1}}, "text", {"X-Null": None},
                    {"X-List": ["a", {}]}, {"bad name": "v"}],
        "body": {"mode": "formdata", "formdata": [
            {"key": "fine", "value": "1"}, {"value": "no key"}, {"key": 4, "value": ""}, 7]}})
    for path in ("method: ", "url: ", "timeout: ", "max_redirects: ", "ignore_tls_certificate: ",
                 "headers[1]", "headers[2]: ", "headers[3]", "headers[4]", "headers[5]",
                 "body.formdata[1]", "body.formdata[2]", "body.formdata[3]"):
        assert path in message, (path, message)
    assert "headers[0]" not in message and "formdata[0]" not in message


def test_an_empty_payload_lacks_method_and_url(requestor):
    message = invalid(requestor, {})
    assert "method: missing" in message and "url: missing" in message


@pytest.mark.parametrize("field, value", [
    ("headers", "X: 1"), ("headers", 4), ("timeout", -1), ("timeout", "10"), ("timeout", True),
    ("max_redirects", -1), ("max_redirects", "3"), ("ignore_tls_certificate", 1),
    ("body", "text"), ("body", []), ("body", {}), ("body", {"mode": 1}), ("body", True),
    ("body", {"mode": "graphql"}), ("body", {"mode": "RAW", "raw": "x"}),
    ("body", {"mode": "raw"}), ("body", {"mode": "raw", "raw": 5}),
    ("body", {"mode": "raw", "raw": True}), ("body", {"mode": "formdata"}),
    ("body", {"mode": "formdata", "formdata": {}}),
    ("body", {"mode": "formdata", "formdata": [{"key": "k", "value": "!", "encoding": "base64"}]}),
    ("body", {"mode": "formdata", "formdata": [{"key": "k", "value": "v", "encoding": "hex"}]}),
    ("body", {"mode": "formdata", "formdata": [{"key": "k", "value": "v", "filename": 1}]}),
    ("body", {"mode": "formdata", "formdata": [{"key": "k", "value": "v", "disabled": "no"}]}),
    ("body", {"mode": "formdata", "formdata": [
        {"key": "k", "value": "v", "filename": "f", "contentType": "a/b\r\nX: 1"}]}),
    ("body", {"mode": "urlencoded"}), ("body", {"mode": "urlencoded", "urlencoded": "a=b"}),
    ("body", {"mode": "urlencoded", "urlencoded": [{"value": "v"}]}),
    ("body", {"mode": "urlencoded", "urlencoded": [["k", "v"]]}),
])
def test_a_wrong_type_or_value_is_refused_by_its_path(requestor, raw, field, value):
    url = raw.url()
    message = invalid(requestor, {"method": "POST", "url": url, field: value})
    assert field in message, message
    assert raw.requests(url) == []


def test_unknown_fields_are_ignored(requestor, raw):
    url = raw.url(text("fine"))
    record = requestor.send({"method": "GET", "url": url, "proxy": "x", "maxRedirects": "y",
                             "body": None, "headers": {"X": "1"}})
    assert answered(record)["body"] == "fine"
