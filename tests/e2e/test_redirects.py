"""commands.md 7: which redirects are followed, and what goes along."""

import json

import pytest

from support.raw_target import Send, Slow, answer, text
from support.requestors import answered, failed, headers_named


def to(location, status="302 Found"):
    return text("moved", status, [f"Location: {location}"])


def ask(requestor, url, method="GET", **fields):
    return answered(requestor.send({"method": method, "url": url, **fields}))


def hop(requestor, raw, status, method, **fields):
    """The request that arrives behind one redirect."""
    end = raw.url(text("the end"))
    ask(requestor, raw.url(to(end, status)), method, **fields)
    return raw.only(end)


POSTED = {"body": {"mode": "raw", "raw": "content"}, "headers": {"Content-Type": "text/x-mine"}}


def header(request, name):
    return [value for each, value in request.headers if each.lower() == name]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other"])
def test_a_post_becomes_a_get_without_its_body(requestor, raw, status):
    request = hop(requestor, raw, status, "POST", **POSTED)
    assert request.line.startswith("GET ")
    assert request.body == b""
    assert header(request, "content-length") in ([], ["0"])
    assert header(request, "content-type") == []


@pytest.mark.parametrize("status", ["307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
def test_307_and_308_keep_method_and_body(requestor, raw, status, method):
    request = hop(requestor, raw, status, method, **POSTED)
    assert request.line.startswith(method + " ")
    assert request.body == b"content"
    assert header(request, "content-type") == ["text/x-mine"]


def test_a_form_is_sent_again_behind_a_307(requestor, raw):
    form = {"mode": "formdata", "formdata": [{"key": "a", "value": "1"}]}
    request = hop(requestor, raw, "307 Temporary", "POST", body=form)
    assert b'name="a"\r\n\r\n1\r\n' in request.body


@pytest.mark.parametrize("status", ["301 Moved", "302 Found"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_301_and_302_change_no_method_but_post(requestor, raw, status, method):
    request = hop(requestor, raw, status, method, **POSTED)
    assert request.line.startswith(method + " ")
    assert request.body == b"content"


def test_303_makes_a_get_of_a_put(requestor, raw):
    request = hop(requestor, raw, "303 See Other", "PUT", **POSTED)
    assert request.line.startswith("GET ")
    assert request.body == b""


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
def test_head_stays_head(requestor, raw, status):
    assert hop(requestor, raw, status, "HEAD").line.startswith("HEAD ")


def test_credentials_and_cookies_stay_on_the_same_host(requestor, raw):
    headers = {"Authorization": "Bearer s", "Cookie": "a=1", "X-Other": "o"}
    request = hop(requestor, raw, "302 Found", "GET", headers=headers)
    assert {name: header(request, name.lower()) for name in headers} == {
        name: [value] for name, value in headers.items()}


@pytest.mark.parametrize("status", ["302 Found", "307 Temporary"])
def test_credentials_and_cookies_do_not_cross_to_another_port(requestor, raw, other_raw, status):
    end = other_raw.url()
    ask(requestor, raw.url(to(end, status)),
        headers={"AUTHORIZATION": "Bearer s", "cookie": "a=1", "X-Other": "o"})
    request = other_raw.only(end)
    assert header(request, "authorization") == [] and header(request, "cookie") == []
    assert header(request, "x-other") == ["o"]


def test_credentials_and_cookies_do_not_cross_to_another_name_or_scheme(requestor, raw, raw_tls):
    for end in (raw.url().replace("127.0.0.1", "localhost"), raw_tls.url()):
        target = raw_tls if end.startswith("https") else raw
        ask(requestor, raw.url(to(end)), headers={"Authorization": "Basic s", "Cookie": "a=1"})
        request = target.only(end)
        assert header(request, "authorization") == [] and header(request, "cookie") == []


def test_credentials_do_not_come_back_with_a_second_redirect(requestor, raw, other_raw):
    end = raw.url()
    middle = other_raw.url(to(end))
    ask(requestor, raw.url(to(middle)), headers={"Authorization": "Bearer s"})
    assert header(other_raw.only(middle), "authorization") == []
    assert header(raw.only(end), "authorization") == []


def test_user_and_password_of_the_url_do_not_cross_either(requestor, raw, other_raw):
    end = other_raw.url()
    ask(requestor, raw.url(to(end)).replace("://", "://ann:secret@"))
    assert header(other_raw.only(end), "authorization") == []


def test_a_host_that_was_set_does_not_cross(requestor, raw, other_raw):
    end = other_raw.url()
    ask(requestor, raw.url(to(end)), headers={"Host": "first.example"})
    assert header(other_raw.only(end), "host") == [f"127.0.0.1:{other_raw.port}"]


def test_cookies_of_a_redirect_are_not_kept(requestor, raw):
    end = raw.url()
    ask(requestor, raw.url(text("", "302 Found", [f"Location: {end}", "Set-Cookie: s=1"])))
    assert header(raw.only(end), "cookie") == []


def test_with_max_redirects_0_the_redirect_itself_is_the_answer(requestor, raw):
    end = raw.url()
    got = ask(requestor, raw.url(to(end)), max_redirects=0)
    assert (got["statusCode"], got["body"]) == (302, "moved")
    assert headers_named(got, "location") == [end]
    assert raw.requests(end) == []


def chain(raw, length):
    """An URL behind which so many redirects lead to the end, and the end."""
    end = url = raw.url(text("the end"))
    for _ in range(length):
        url = raw.url(to(url))
    return url, end


def too_many(requestor, url, **fields):
    error = failed(requestor.send({"method": "GET", "url": url, **fields}))
    assert error["code"] == "TOO_MANY_REDIRECTS"


def test_as_many_redirects_are_followed_as_were_allowed(requestor, raw):
    assert ask(requestor, chain(raw, 3)[0], max_redirects=3)["body"] == "the end"
    url, end = chain(raw, 4)
    too_many(requestor, url, max_redirects=3)
    assert raw.requests(end) == []


def test_the_default_limit_is_20(requestor, raw):
    assert ask(requestor, chain(raw, 20)[0])["body"] == "the end"
    too_many(requestor, chain(raw, 21)[0])


def test_the_default_limit_is_a_setting(site, raw):
    requestor = site.start(MAX_REDIRECTS=1).requestor
    assert ask(requestor, chain(raw, 1)[0])["body"] == "the end"
    too_many(requestor, chain(raw, 2)[0])


def test_a_circle_ends(requestor, httpbin):
    too_many(requestor, httpbin.url("/redirect/6"), max_redirects=5)


def test_httpbins_redirects_are_followed(requestor, httpbin):
    for path in ("/redirect/3", "/relative-redirect/2", "/absolute-redirect/2"):
        got = ask(requestor, httpbin.url(path))
        assert got["statusCode"] == 200
        assert json.loads(got["body"])["url"] == httpbin.url("/get")


def test_a_relative_location_is_resolved(requestor, raw):
    end = raw.url(text("the end"))
    path = "/" + end.split("/", 3)[3]
    for location in (path, path + "/sub?q=1", f"//127.0.0.1:{raw.port}{path}", "../" * 3 + path[1:],
                     path + "#fragment"):
        assert ask(requestor, raw.url(to(location)) + "/a/b?c=d")["body"] == "the end"
    assert not [request.line for request in raw.requests(end) if "#" in request.line]


def test_the_answer_is_the_last_hops_alone(requestor, raw):
    end = raw.url(Send(answer(headers=["X-Last: 1"], body=b"end")))
    got = ask(requestor, raw.url(text("", "302 F", [f"Location: {end}", "X-First: 1"])))
    assert got["headers"] == [{"x-last": "1"}, {"content-length": "3"}]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://x/",
                                      "javascript:alert(1)", "http://"])
def test_a_location_that_is_no_http_url_is_an_invalid_response(requestor, raw, location):
    error = failed(requestor.send({"method": "GET", "url": raw.url(to(location))}))
    assert error["code"] == "INVALID_RESPONSE"
    assert "root:" not in error["message"]


def test_a_redirect_without_location_is_the_answer(requestor, raw):
    got = ask(requestor, raw.url(text("lost", "302 Found")))
    assert (got["statusCode"], got["body"]) == (302, "lost")


def test_the_timeout_covers_all_hops_together(requestor, raw):
    end = raw.url(Slow(0.4, answer(body=b"the end")))
    first = raw.url(Slow(0.4, answer("302 Found", [f"Location: {end}"])))
    error = failed(requestor.send({"method": "GET", "url": first, "timeout": 600}))
    assert error["code"] == "ECONNABORTED"
    assert error["message"].endswith("timeout of 600ms exceeded")


def test_an_error_of_a_later_hop_is_the_commands(requestor, raw, refusing_port):
    url = raw.url(to(f"http://127.0.0.1:{refusing_port}/"))
    error = failed(requestor.send({"method": "GET", "url": url}))
    assert error["code"] == "ECONNREFUSED"
    assert error["message"].endswith(f"connect ECONNREFUSED 127.0.0.1:{refusing_port}")
