"""`relay-agent send`: a requestor at the command line, through the real service and agent."""

import json

import pytest

from conftest import KEY, OLD_KEY
from support.processes import Run
from support.raw_target import Hang, Send, answer, text

PICTURE = bytes(range(256))


@pytest.fixture
def send(relay):
    def run(*words, stdin=b"", **env):
        requestor, settings = relay.requestor, relay.agent.settings
        return Run(["send", *words], {
            "COMMAND_SERVICE_URL": settings["COMMAND_SERVICE_URL"], "ORG_SLUG": requestor.org,
            "AGENT_ID": requestor.target_id, "AUTH_TOKEN": requestor.token, **env}, stdin)
    return run


def success(run):
    assert run.code == 0, run.all
    return run.out


def sent(request, name):
    return [value for each, value in request.headers if each.lower() == name]


def test_send_prints_the_targets_answer_and_nothing_else(send, raw):
    run = send(raw.url(text("the answer, without a newline")))
    assert success(run) == "the answer, without a newline"
    assert run.err == ""


def test_send_is_a_get_without_a_body_and_a_post_with_one(send, raw):
    url = raw.url()
    success(send(url))
    success(send("-d", "content", url))
    success(send("-X", "PUT", "-d", "content", url))
    success(send("-X", "DELETE", url))
    assert [request.line.split()[0] for request in raw.requests(url)] == [
        "GET", "POST", "PUT", "DELETE"]


def test_send_takes_headers_and_a_raw_body(send, raw):
    url = raw.url()
    success(send("-H", "Content-Type: text/x-mine", "-H", "X-B: two", "-H", "X-A:one",
                 "-d", '{"ä": "\\u0000"}', url))
    request = raw.only(url)
    assert request.body == '{"ä": "\\u0000"}'.encode()
    assert sent(request, "content-type") == ["text/x-mine"]
    names = [name for name, _ in request.headers if name.startswith("X-")]
    assert names == ["X-B", "X-A"]
    assert (sent(request, "x-b"), sent(request, "x-a")) == (["two"], ["one"])


def test_send_joins_several_data_and_reads_files(send, raw, tmp_path):
    path = tmp_path / "data"
    path.write_text("from=file\n")
    url = raw.url()
    success(send("-d", "a=1", "-d", f"@{path}", url))
    success(send("-d", "@-", url, stdin="from=stdin"))
    assert [request.body for request in raw.requests(url)] == [b"a=1&from=file", b"from=stdin"]


def test_send_takes_form_fields_and_files(send, httpbin, tmp_path):
    (tmp_path / "table.csv").write_bytes(PICTURE)
    (tmp_path / "note.txt").write_text("Zoë")
    seen = json.loads(success(send(
        "-F", "field=välue", "-F", f"file=@{tmp_path}/table.csv;type=text/csv",
        "-F", f"note=@{tmp_path}/note.txt", httpbin.url("/post"))))
    assert seen["form"] == {"field": "välue"}
    assert seen["files"]["note"] == "Zoë"
    assert seen["files"]["file"].startswith("data:text/csv;base64,")


def test_send_encodes_urlencoded_fields(send, raw):
    url = raw.url()
    success(send("--data-urlencode", "a b=c&d=e", "--data-urlencode", "ä=~", url))
    assert raw.only(url).body == b"a+b=c%26d%3De&%C3%A4=%7E"


def test_send_prints_status_and_headers_with_i(send, raw):
    url = raw.url(Send(answer("201 Created", ["X-A: 1", "Set-Cookie: a=1", "Set-Cookie: b=2"],
                              b"body")))
    head, body = success(send("-i", url)).replace("\r\n", "\n").split("\n\n")
    status, *headers = head.split("\n")
    assert status.startswith("HTTP") and " 201" in status
    assert headers == ["x-a: 1", "set-cookie: a=1", "set-cookie: b=2", "content-length: 4"]
    assert body == "body"


def test_send_writes_binary_answers_as_they_were(send, raw, tmp_path):
    url = raw.url(text(PICTURE))
    run = send(url)
    assert (run.code, run.bytes) == (0, PICTURE)
    path = tmp_path / "picture"
    run = send("-o", path, url)
    assert (run.code, run.bytes, path.read_bytes()) == (0, b"", PICTURE)


def test_send_prints_the_whole_record_with_json(send, raw):
    record = json.loads(success(send("--json", raw.url(text("hello")))))
    assert record["status"] == "SUCCESS"
    assert record["responseBody"]["body"] == "hello"
    assert record["requestBody"]["body"]["method"] == "GET"


def test_send_encrypts_and_opens_the_answer(send, raw):
    url = raw.url(text("sealed"))
    assert success(send("--encrypt", "-d", "content", url, SECURE_COMMAND_KEY=KEY.hex())) == "sealed"
    assert raw.only(url).body == b"content"
    record = json.loads(success(send("--encrypt", "--json", url, SECURE_COMMAND_KEY=KEY.hex())))
    assert record["action"].endswith(".V2")
    assert set(record["requestBody"]["body"]) == {"nonce", "tag", "ciphertext"}
    assert record["responseBody"]["body"] == "sealed"


def test_send_without_the_right_key_cannot_encrypt(send, raw):
    run = send("--encrypt", raw.url())
    assert (run.code, run.out) == (78, "")
    assert "SECURE_COMMAND_KEY" in run.err
    run = send("--encrypt", raw.url(), SECURE_COMMAND_KEY=OLD_KEY.hex())
    assert (run.code, run.out) == (1, "")
    assert "DECRYPTION_FAILED" in run.err


def test_send_ends_with_1_when_the_target_says_no(send, raw):
    run = send(raw.url(text("not here", "404 Not Found")))
    assert (run.code, run.out) == (1, "not here")
    assert "404" in run.err


def test_send_ends_with_1_and_says_why_when_no_answer_could_be_had(send, raw, refusing_port):
    run = send(f"http://127.0.0.1:{refusing_port}/")
    assert (run.code, run.out) == (1, "")
    assert "ECONNREFUSED" in run.err and str(refusing_port) in run.err
    run = send("--max-time", "0.2", raw.url(Hang()))
    assert (run.code, run.out) == (1, "")
    assert "timeout of 200ms exceeded" in run.err


def test_send_ends_with_1_and_says_why_when_it_was_rejected(send):
    run = send("--action", "No.Such.Action", "http://127.0.0.1/")
    assert (run.code, run.out) == (1, "")
    assert "Unknown command action: No.Such.Action" in run.err
    run = send("file:///etc/passwd")
    assert run.code != 0 and run.out == ""
    assert "url" in run.err


def test_send_ignores_certificates_with_k(send, nginx):
    nginx.file("send-k", b"insecure")
    url = nginx.url("self-signed", "send-k")
    run = send(url)
    assert run.code == 1 and "DEPTH_ZERO_SELF_SIGNED_CERT" in run.err
    assert success(send("-k", url)) == "insecure"


def test_send_prints_a_large_answer_whole(send, nginx):
    content = b"0123456789abcdef" * 65536 * 11
    run = send(nginx.file("send-11m", content))
    assert run.code == 0 and run.bytes == content


def test_send_with_a_refused_token_says_so_without_showing_it(send, raw):
    run = send(raw.url(), AUTH_TOKEN="not-a-token-of-anybody")
    assert (run.code, run.out) == (1, "")
    assert "401" in run.err and "not-a-token-of-anybody" not in run.err


def test_send_to_a_service_that_is_not_there_says_so(send, raw, refusing_port):
    run = send(raw.url(), COMMAND_SERVICE_URL=f"http://127.0.0.1:{refusing_port}")
    assert (run.code, run.out) == (1, "")
    assert "ECONNREFUSED" in run.err


@pytest.mark.parametrize("words", [
    [], ["http://a/", "http://b/"], ["-X"], ["-H", "no colon", "http://a/"],
    ["-d", "a", "-F", "b=c", "http://a/"], ["--max-time", "soon", "http://a/"],
    ["-d", "@/does/not/exist", "http://a/"], ["-F", "f=@/does/not/exist", "http://a/"]])
def test_send_with_wrong_words_is_a_usage_error(send, words):
    run = send(*words)
    assert (run.code, run.out) == (2, "")
    assert "relay-agent send --help" in run.err
