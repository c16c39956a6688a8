"""commands.md 6: every error code that can be provoked from outside, with its exact text."""

import gzip

import pytest

from conftest import one_pair
from support.raw_target import Close, Hang, Reset, Send, answer, text
from support.requestors import answered, failed

HANDLING = "An error occurred while handling the command: Error making request: "
NO_RESPONSE = (HANDLING + "The request was made by the HTTP Relay but no response was received. "
               "Additional info: ")


def fail(requestor, url, **fields):
    return failed(requestor.send({"method": "GET", "url": url, **fields}))


def assert_failure(requestor, url, code, info, **fields):
    """The whole message, to the letter."""
    assert fail(requestor, url, **fields) == {"message": NO_RESPONSE + info, "code": code}


def assert_code(requestor, url, code, **fields):
    """Where the contract gives the code alone; returns what is said beyond the fixed words."""
    error = fail(requestor, url, **fields)
    assert error["code"] == code, error
    assert error["message"].startswith(HANDLING), error
    return error["message"]


# -- connections --------------------------------------------------------------------

def test_a_closed_port_is_econnrefused_and_the_body_is_the_contracts_to_the_byte(
        requestor, refusing_port):
    record = requestor.send({"method": "GET", "url": f"http://127.0.0.1:{refusing_port}/a?b"})
    assert record["status"] == "FAILURE"
    assert record["responseBody"] == {
        "body": '{"message":"An error occurred while handling the command: Error making request: '
                'The request was made by the HTTP Relay but no response was received. Additional '
                f'info: connect ECONNREFUSED 127.0.0.1:{refusing_port}","code":"ECONNREFUSED"}}'}


def test_an_unknown_name_is_enotfound(requestor):
    assert_failure(requestor, "http://name.invalid/x", "ENOTFOUND",
                   "getaddrinfo ENOTFOUND name.invalid")


def test_a_connection_that_is_not_accepted_is_etimedout(requestor, silent_port):
    assert_failure(requestor, f"http://127.0.0.1:{silent_port}/", "ETIMEDOUT",
                   f"connect ETIMEDOUT 127.0.0.1:{silent_port}", timeout=300)


def test_an_address_that_cannot_be_reached_is_ehostunreach(requestor):
    """The broadcast address: the kernel refuses to connect to it and sends nothing."""
    assert_failure(requestor, "http://255.255.255.255:81/", "EHOSTUNREACH",
                   "connect EHOSTUNREACH 255.255.255.255:81")


def test_a_target_that_does_not_answer_is_econnaborted(requestor, raw):
    assert_failure(requestor, raw.url(Hang()), "ECONNABORTED", "timeout of 300ms exceeded",
                   timeout=300)


def test_a_target_that_stops_within_its_answer_is_econnaborted(requestor, raw):
    class SendAndHang(Send):
        def play(self, connection, target, request):
            connection.sendall(self.content)
            return Hang().play(connection, target, request)
    half = answer(headers=["Content-Length: 100"], framed=False) + b"half"
    assert_failure(requestor, raw.url(SendAndHang(half)), "ECONNABORTED",
                   "timeout of 350ms exceeded", timeout=350)


@pytest.mark.timing
def test_the_default_timeout_is_10_seconds(requestor, raw):
    assert_failure(requestor, raw.url(Hang()), "ECONNABORTED", "timeout of 10000ms exceeded")


def test_a_reset_before_the_answer_is_econnreset(requestor, raw):
    assert_failure(requestor, raw.url(Reset()), "ECONNRESET", "read ECONNRESET")


def test_a_connection_closed_without_an_answer_is_econnreset(requestor, raw):
    assert_failure(requestor, raw.url(Close()), "ECONNRESET", "socket hang up")


# -- TLS ----------------------------------------------------------------------------

@pytest.mark.parametrize("server, code, info", [
    ("expired", "CERT_HAS_EXPIRED", "certificate has expired"),
    ("self-signed", "DEPTH_ZERO_SELF_SIGNED_CERT", "self-signed certificate"),
    ("unknown-ca", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "unable to verify the first certificate")])
def test_a_bad_certificate_has_its_code(requestor, nginx, server, code, info):
    assert_failure(requestor, nginx.url(server, "x"), code, info)


def test_a_certificate_of_another_host_has_its_code(requestor, nginx):
    for host in ("127.0.0.1", "localhost"):
        error = fail(requestor, nginx.url("wrong-host", "x", host))
        assert error["code"] == "ERR_TLS_CERT_ALTNAME_INVALID"
        assert error["message"].startswith(
            NO_RESPONSE + "Hostname/IP does not match certificate's altnames: ")


def test_a_certificate_of_the_configured_authority_is_trusted(requestor, nginx):
    nginx.file("trusted", b"trusted")
    for host in ("127.0.0.1", "localhost"):
        record = requestor.send({"method": "GET", "url": nginx.url("good", "trusted", host)})
        assert answered(record)["body"] == "trusted"


def test_the_same_authority_is_unknown_to_an_agent_without_it(site, nginx):
    requestor = site.start(CA_FILE=None).requestor
    assert_failure(requestor, nginx.url("good", "x"), "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
                   "unable to verify the first certificate")


@pytest.mark.parametrize("server", ["expired", "self-signed", "unknown-ca", "wrong-host"])
def test_ignore_tls_certificate_accepts_any(requestor, nginx, server):
    nginx.file("ignored", b"ignored")
    url = nginx.url(server, "ignored")
    record = requestor.send({"method": "GET", "url": url, "ignore_tls_certificate": True})
    assert answered(record)["body"] == "ignored"
    # And it is not remembered for the next command, whose connection could be the same.
    record = requestor.send({"method": "GET", "url": url, "ignore_tls_certificate": False})
    assert record["status"] == "FAILURE"


def test_tls_to_a_plain_port_is_eproto(requestor, nginx):
    message = assert_code(requestor, nginx.url("plain", "").replace("http:", "https:"), "EPROTO")
    assert message.startswith(NO_RESPONSE)


# -- answers that are none ----------------------------------------------------------

def chunked(rest):
    return answer(headers=["Transfer-Encoding: chunked"], framed=False) + rest


def cut(body, length):
    return answer(headers=[f"Content-Length: {length}"], framed=False) + body


@pytest.mark.parametrize("what, content", [
    ("HTTP/0.9", b"hello\n"),
    ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n"),
    ("binary", bytes(range(256))),
    ("no status", b"HTTP/1.1\r\n\r\n"),
    ("a bad status", b"HTTP/1.1 abc OK\r\n\r\n"),
    ("half a head", b"HTTP/1.1 200 OK\r\nContent-Ty"),
    ("a short body", cut(b"only this", 100)),
    ("no body", cut(b"", 5)),
    ("chunks without an end", chunked(b"5\r\nhello\r\n")),
    ("a cut chunk", chunked(b"ff\r\nhello")),
    ("a bad chunk size", chunked(b"xyz\r\nhello\r\n0\r\n\r\n")),
    ("a chunk longer than said", chunked(b"2\r\nhello\r\n0\r\n\r\n")),
    ("bad gzip", answer(headers=["Content-Encoding: gzip"], body=b"this is no gzip at all")),
    ("cut gzip", answer(headers=["Content-Encoding: gzip"],
                        body=gzip.compress(bytes(range(256)) * 50)[:-12])),
    ("bad brotli", answer(headers=["Content-Encoding: br"], body=b"\xff\xff\xff\xff\xff")),
    ("a length that is none", answer(headers=["Content-Length: abc"], framed=False) + b"x"),
    ("two lengths", answer(headers=["Content-Length: 1", "Content-Length: 2"], framed=False)
     + b"xy")], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_not_http_is_an_invalid_response(requestor, raw, what, content):
    assert_code(requestor, raw.url(Send(content)), "INVALID_RESPONSE")


# -- limits -------------------------------------------------------------------------

@pytest.fixture(scope="module")
def small(session_service, defaults):
    """An agent that takes 1,000 bytes."""
    with one_pair(session_service, {**defaults, "MAX_RESPONSE_BYTES": 1000}) as pair:
        yield pair.requestor


def test_an_answer_above_the_limit_is_response_too_large(small, raw):
    assert_code(small, raw.url(text("x" * 1001)), "RESPONSE_TOO_LARGE")
    assert answered(small.send({"method": "GET", "url": raw.url(text("x" * 1000))}))["body"] == \
        "x" * 1000


def test_the_limit_holds_without_a_length_too(small, raw):
    for head in (chunked(b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"),
                 answer(framed=False) + b"x" * 1001):
        assert_code(small, raw.url(Send(head)), "RESPONSE_TOO_LARGE")


def test_the_limit_counts_after_decoding(small, raw):
    for size, fits in ((1001, False), (1000, True), (10 ** 8, False)):
        body = gzip.compress(b"x" * size, 9)
        url = raw.url(text(body, headers=["Content-Encoding: gzip"]))
        if fits:
            assert answered(small.send({"method": "GET", "url": url}))["body"] == "x" * size
        else:
            assert_code(small, url, "RESPONSE_TOO_LARGE")


def test_the_limit_holds_between_two_encodings(small, raw):
    """What the inner one has behind its end is thrown away, however much it is."""
    inner = gzip.compress(b"hello") + bytes(2000)
    headers = ["Content-Encoding: gzip, gzip"]
    assert_code(small, raw.url(text(gzip.compress(inner), headers=headers)), "RESPONSE_TOO_LARGE")
    twice = gzip.compress(gzip.compress(b"hello"))
    assert answered(small.send({"method": "GET", "url": raw.url(text(twice, headers=headers))})
                    )["body"] == "hello"


MANY = ["a: 1"] * 256


@pytest.mark.parametrize("content", [
    answer(headers=MANY),
    answer(headers=[f"a{number}: {'x' * 60000}" for number in range(5)]),
    chunked(b"2\r\nok\r\n0\r\n" + b"a: 1\r\n" * 256 + b"\r\n"),
    b"HTTP/1.1 103 Early Hints\r\na: 1\r\n\r\n" * 257 + answer(body=b"ok"),
    answer(headers=["a: " + "x" * 150000]),
    b"HTTP/1.1 200 " + b"x" * 150000,
    chunked(b"2\r\nok\r\n0\r\na: " + b"x" * 5000 + b"\r\n\r\n")],
    ids=["many", "large", "trailers", "interim answers", "a long one", "a long status",
         "a long trailer"])
def test_headers_are_limited_in_number_and_size(requestor, raw, content):
    for method in ("GET", "POST"):
        url = raw.url(Send(content))
        said = assert_code(requestor, url, "RESPONSE_TOO_LARGE", method=method)
        assert "header" in said or "trailer" in said
        assert len(raw.requests(url)) == 1


def test_a_request_that_is_longer_than_libcurl_sends_says_so(requestor, raw):
    url = raw.url()
    said = assert_code(requestor, url, "AGENT_ERROR", headers=[{"X-Long": "x" * 1100000}])
    assert "nothing was sent" in said and not raw.requests(url)


@pytest.mark.parametrize("content, reason", [
    (answer(headers=["Content-Length: 2", "Content-Length: 3"], body=b"ok", framed=False),
     "two different content-length headers"),
    (answer(headers=["Content-Encoding: gzip"], body=b"this is no gzip at all"),
     "the body is not gzip, as its content-encoding says"),
    (answer(headers=["Content-Encoding: gzip"], body=gzip.compress(b"much" * 99)[:-12]),
     "the body ends within its gzip encoding")], ids=["two lengths", "no gzip", "cut gzip"])
def test_an_invalid_response_says_why(requestor, raw, content, reason):
    assert reason in assert_code(requestor, raw.url(Send(content)), "INVALID_RESPONSE")


def test_an_empty_location_is_none(requestor, raw):
    url = raw.url(Send(answer("302 Found", headers=["Location:"])))
    error = requestor.send({"method": "GET", "url": url})
    assert "control character" not in str(error), error


def test_as_many_headers_as_there_may_be_are_answered(requestor, raw):
    url = raw.url(Send(answer(body=b"ok", headers=MANY[:255])))  # … and a content-length
    given = answered(requestor.send({"method": "GET", "url": url}))
    assert given["body"] == "ok" and {"a": ", ".join(["1"] * 255)} in given["headers"]


def test_the_limit_does_not_count_what_a_head_only_announces(small, raw):
    head = answer(headers=["Content-Length: 5000"], framed=False)
    record = small.send({"method": "HEAD", "url": raw.url(Send(head))})
    assert answered(record)["body"] == ""
