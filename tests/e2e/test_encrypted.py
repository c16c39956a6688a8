"""commands.md 5: V2 against two libraries that nobody here wrote."""

import base64

import pytest

from conftest import KEY, OLD_KEY
from support.raw_target import text
from support.requestors import V2, failed, failure_in, headers_named
from support.v2 import WithCryptography, WithPyCryptodome, b64, opened

LIBRARIES = [WithCryptography, WithPyCryptodome]
TEXT_KEY = b"0123456789 abcdef-GHIJKL_!?#&=%+"
NO_RESPONSE = ("An error occurred while handling the command: Error making request: The request "
               "was made by the HTTP Relay but no response was received. Additional info: ")


def get(url):
    return {"method": "GET", "url": url}


def unlocked(record, key=KEY, status="SUCCESS", library=WithCryptography):
    assert record["status"] == status, record
    return library.decrypt(key, record["responseBody"])


def ask(requestor, url, key=KEY, status="SUCCESS", library=WithCryptography, **options):
    sealed = library.encrypt(key, get(url), **options)
    return unlocked(requestor.send(sealed, V2), key, status, library)


def undecryptable(requestor, sealed):
    """The reason, in the clear, of a failure to decrypt."""
    error = failed(requestor.send(sealed, V2))
    assert error["code"] == "DECRYPTION_FAILED", error
    return error["message"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_encrypted_command_is_answered_encrypted(requestor, raw, library):
    url = raw.url(text("Zoë 東京", headers=["X-A: 1", "Set-Cookie: s=1"]))
    payload = {"method": "POST", "url": url, "headers": {"X-Secret": "s"},
               "body": {"mode": "raw", "raw": "äöü\0"}}
    record = requestor.send(library.encrypt(KEY, payload), V2)
    answer = unlocked(record, library=library)
    assert answer["statusCode"] == 200
    assert answer["body"] == "Zoë 東京"
    assert headers_named(answer, "set-cookie") == [["s=1"]]
    assert raw.only(url).body == "äöü\0".encode()
    nonce, _, tag = opened(record["responseBody"])
    assert (len(nonce), len(tag)) == (12, 16)


@pytest.mark.parametrize("size", [1, 8, 11, 12, 13, 16, 32, 64])
def test_nonces_of_1_to_64_bytes_are_accepted(requestor, raw, size):
    library = WithCryptography if size >= 8 else WithPyCryptodome
    url = raw.url(text("fine"))
    sealed = library.encrypt(KEY, get(url), nonce_size=size)
    assert unlocked(requestor.send(sealed, V2))["body"] == "fine"


@pytest.mark.parametrize("size", [0, 65])
def test_nonces_of_other_sizes_are_refused(requestor, size):
    sealed = WithCryptography.encrypt(KEY, get("http://127.0.0.1/"))
    sealed["nonce"] = b64(bytes(size))
    assert "nonce" in undecryptable(requestor, sealed)


URL_SAFE_KEY = bytes([251, 255, 190] * 10 + [251, 255])


@pytest.mark.parametrize("form, key", [
    (KEY.hex().upper(), KEY), (b64(KEY), KEY), (TEXT_KEY.decode(), TEXT_KEY),
    (base64.urlsafe_b64encode(URL_SAFE_KEY).decode().rstrip("="), URL_SAFE_KEY)])
def test_a_key_is_read_in_each_of_its_forms(site, raw, form, key):
    requestor = site.start(SECURE_COMMAND_KEY=form).requestor
    assert ask(requestor, raw.url(text("fine")), key)["body"] == "fine"


def url_safe(word):
    return word.replace("+", "-").replace("/", "_")


def unpadded(word):
    return word.rstrip("=")


@pytest.mark.parametrize("rewrite", [url_safe, unpadded, lambda word: unpadded(url_safe(word))])
def test_url_safe_letters_and_missing_padding_are_read(requestor, raw, rewrite):
    url = raw.url(text("fine"))
    # Long enough that both letters that differ are in it.
    sealed = WithPyCryptodome.encrypt(KEY, {**get(url), "note": "x" * 2000})
    assert "+" in sealed["ciphertext"] and "/" in sealed["ciphertext"]
    sealed = {name: rewrite(value) for name, value in sealed.items()}
    assert unlocked(requestor.send(sealed, V2))["body"] == "fine"


@pytest.mark.parametrize("field, value", [
    ("nonce", "!!!!"), ("tag", "QQ=A"), ("ciphertext", "===="), ("ciphertext", "QQ==QQ=="),
    ("tag", "AAAAAAAAAAAAAAAAAAAAAA==\n"), ("nonce", "AAAA AAAA"), ("nonce", 12), ("tag", None),
    ("ciphertext", []), ("tag", "")])
def test_a_malformed_field_is_refused_by_its_name(requestor, field, value):
    sealed = {**WithCryptography.encrypt(KEY, get("http://127.0.0.1/")), field: value}
    assert field in undecryptable(requestor, sealed)


@pytest.mark.parametrize("field", ["nonce", "tag", "ciphertext"])
def test_a_missing_field_is_refused_by_its_name(requestor, field):
    sealed = WithCryptography.encrypt(KEY, get("http://127.0.0.1/"))
    del sealed[field]
    assert field in undecryptable(requestor, sealed)


@pytest.mark.parametrize("payload", [None, [], "text", 1, {}, {"method": "GET", "url": "x"}])
def test_what_is_no_envelope_is_a_failure_in_the_clear(requestor, payload):
    undecryptable(requestor, payload)


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("field", ["nonce", "tag", "ciphertext"])
def test_one_flipped_bit_is_a_failure_and_nothing_is_executed(requestor, raw, field):
    url = raw.url()
    sealed = WithCryptography.encrypt(KEY, get(url))
    content = base64.b64decode(sealed[field])
    for bit in {0, len(content) * 4, len(content) * 8 - 1}:
        undecryptable(requestor, {**sealed, field: b64(flipped(content, bit))})
    assert raw.requests(url) == []
    assert unlocked(requestor.send(sealed, V2))["body"] == "ok"


@pytest.mark.parametrize("size", [0, 1, 4, 8, 12, 15, 17, 32])
def test_a_tag_of_another_length_is_never_accepted(requestor, raw, size):
    url = raw.url()
    sealed = WithCryptography.encrypt(KEY, get(url))
    tag = (base64.b64decode(sealed["tag"]) * 2)[:size]
    assert "tag" in undecryptable(requestor, {**sealed, "tag": b64(tag)})
    assert raw.requests(url) == []


def test_another_key_is_a_failure_in_the_clear(requestor):
    undecryptable(requestor, WithCryptography.encrypt(bytes(32), get("http://127.0.0.1/")))


def test_an_agent_without_a_key_says_so(site):
    requestor = site.start(SECURE_COMMAND_KEY=None).requestor
    message = undecryptable(requestor, WithCryptography.encrypt(KEY, get("http://127.0.0.1/")))
    assert "no key" in message


def test_the_previous_key_opens_commands_and_locks_their_answers(site, raw):
    requestor = site.start(SECURE_COMMAND_KEY_PREVIOUS=b64(OLD_KEY)).requestor
    for key in (OLD_KEY, KEY, OLD_KEY):
        assert ask(requestor, raw.url(text("fine")), key)["body"] == "fine"
    undecryptable(requestor, WithCryptography.encrypt(bytes(32), get("http://127.0.0.1/")))


def test_an_error_of_the_previous_keys_command_is_locked_with_it(site, refusing_port):
    requestor = site.start(SECURE_COMMAND_KEY_PREVIOUS=b64(OLD_KEY)).requestor
    answer = ask(requestor, f"http://127.0.0.1:{refusing_port}/", OLD_KEY, "FAILURE")
    assert failure_in(answer)["code"] == "ECONNREFUSED"


def test_errors_of_a_decrypted_command_are_encrypted(requestor, refusing_port, raw):
    answer = ask(requestor, f"http://127.0.0.1:{refusing_port}/", status="FAILURE")
    assert failure_in(answer) == {
        "message": f"{NO_RESPONSE}connect ECONNREFUSED 127.0.0.1:{refusing_port}",
        "code": "ECONNREFUSED"}
    answer = ask(requestor, raw.url(text("gone", "404 Not Found")), status="FAILURE")
    assert (answer["statusCode"], answer["body"]) == (404, "gone")


def test_a_refused_payload_of_a_decrypted_command_is_answered_encrypted(requestor):
    reason = ask(requestor, "file:///etc/passwd", status="REJECTED")
    assert reason["code"] == "INVALID_PAYLOAD"
    assert "url: " in reason["message"]


@pytest.mark.parametrize("plain", [b"", b"not json", b"[1,2", b"\xff\xfe", b'{"a":1} x'])
def test_a_plaintext_that_is_no_json_is_refused_encrypted(requestor, plain):
    sealed = WithCryptography.seal(KEY, plain)
    record = requestor.send(sealed, V2)
    assert record["status"] == "REJECTED"
    assert unlocked(record, status="REJECTED")["code"] == "INVALID_PAYLOAD"


def test_the_timeout_of_an_encrypted_command_is_honoured(requestor, silent_port):
    payload = {**get(f"http://127.0.0.1:{silent_port}/"), "timeout": 200}
    record = requestor.send(WithCryptography.encrypt(KEY, payload), V2)
    assert failure_in(unlocked(record, status="FAILURE"))["code"] == "ETIMEDOUT"


def test_no_two_answers_share_a_nonce(requestor, raw):
    url = raw.url(text("the same each time"))
    sealed = [WithCryptography.encrypt(KEY, get(url)) for _ in range(50)]
    records = requestor.send_all(sealed, V2)
    nonces = {record["responseBody"]["nonce"] for record in records}
    assert len(nonces) == 50
    assert {unlocked(record)["body"] for record in records} == {"the same each time"}


def test_an_encrypted_binary_answer_of_5_mebibytes_is_whole(requestor, nginx):
    content = bytes(range(256)) * (5 * 4096)
    url = nginx.file("v2-5m", content)
    record = requestor.send(WithCryptography.encrypt(KEY, get(url)), V2)
    assert record["status"] == "SUCCESS"
    answer = WithCryptography.decrypt(KEY, requestor.stored_answer(record))
    assert answer["bodyEncoding"] == "base64"
    assert base64.b64decode(answer["body"]) == content


@pytest.mark.timing  # a checker of memory takes too long for half a gigabyte of values
def test_a_sealed_payload_that_takes_too_much_memory_is_rejected(requestor, raw):
    url = raw.url()
    payload = {"method": "POST", "url": url, "junk": [{}] * 700000}
    said = unlocked(requestor.send(WithCryptography.encrypt(KEY, payload), V2), status="REJECTED")
    assert said["code"] == "INVALID_PAYLOAD" and "bytes of memory" in said["message"], said
    assert not raw.requests(url)
