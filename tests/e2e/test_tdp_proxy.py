"""TDP from behind a proxy with user and password, and with a private CA."""

import contextlib
import ssl

import pytest

from support.proxies import TinyProxy, secrets
from support.raw_target import closed_port, text
from support.tdp_site import TdpSite

pytest_plugins = ["tdp_plugin"]


@pytest.fixture
def proxy():
    with contextlib.closing(TinyProxy()) as proxy:
        yield proxy


@pytest.fixture
def tls_site(emulator, certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    good = certificates.shown["good"]
    context.load_cert_chain(good.certificate_file, good.key_file)
    with contextlib.closing(TdpSite(emulator, context, VisibilityTimeout=600)) as site:
        yield site


def large_answer(tdp, raw):
    """A command that makes use of everything: its URL, and the target's."""
    url = raw.url(text("x" * 300000))
    end = tdp.send({"method": "GET", "url": url},
                   responseBodyUploadUrl=tdp.queues.object_url("by-proxy", tdp.gate.host))
    assert end["responseBodyDelivery"] == "referenced"
    return raw.only(url)


def assert_no_secret(agent):
    for secret in secrets():
        assert secret not in agent.log


def test_everything_but_targets_goes_through_the_proxy(tdp, raw, proxy):
    agent = tdp.start(HTTP_PROXY=proxy.url())
    request = large_answer(tdp, raw)
    tdp.wait_empty()
    assert "via" not in {name.lower() for name, _ in request.headers}
    assert all("via" in call.headers for call in tdp.platform.calls)
    assert all(call.via for call in tdp.gate.calls)
    assert all("Via" in headers for method, _, headers, _ in tdp.gate.objects if method == "PUT")
    assert_no_secret(agent)


def test_https_goes_through_the_proxy_as_a_tunnel_and_a_private_ca_is_trusted(tls_site, raw, proxy, certificates):
    agent = tls_site.start(HTTPS_PROXY=proxy.url(), CA_FILE=certificates.ca.certificate_file)
    assert tls_site.send({"method": "GET", "url": raw.url()})["status"] == "SUCCESS"
    tls_site.wait_empty()
    for host in (tls_site.platform.host, tls_site.gate.host):
        assert f"CONNECT {host}" in proxy.log
    assert f":{raw.port}" not in proxy.log
    assert_no_secret(agent)
    agent.stop()  # while the proxy is there


def test_without_the_private_ca_nothing_is_said_to_anybody(tls_site):
    agent = tls_site.start()
    agent.process.wait_for(lambda line: "UNABLE_TO_VERIFY" in line or "unable to verify" in line)
    assert not tls_site.platform.calls


def test_no_proxy_is_honoured(tdp, raw, proxy):
    tdp.start(HTTP_PROXY=proxy.url(), NO_PROXY="other.example,127.0.0.1")
    assert tdp.send({"method": "GET", "url": raw.url()})["status"] == "SUCCESS"
    assert not [call for call in tdp.platform.calls if "via" in call.headers]
    assert not [call for call in tdp.gate.calls if call.via]


@pytest.mark.parametrize("transport", ["auto", "tdp"])
def test_a_proxy_that_refuses_is_named(tdp, proxy, transport):
    agent = tdp.start(HTTP_PROXY=proxy.url("wrong"), TRANSPORT=transport)
    line = agent.process.wait_for(lambda line: "polling for commands" in line)
    # It hangs up before it has read the request, so that its 407 may be lost.
    assert f"proxy 127.0.0.1:{proxy.port}" in line
    assert "AUTH_TOKEN" not in line and "wrong" not in agent.log
    assert not tdp.platform.calls


def test_a_proxy_that_makes_no_tunnel_is_named(tls_site, proxy, certificates):
    agent = tls_site.start(HTTPS_PROXY=proxy.url("wrong"), CA_FILE=certificates.ca.certificate_file)
    line = agent.process.wait_for(lambda line: "polling for commands" in line)
    assert f"the proxy 127.0.0.1:{proxy.port}: CONNECT tunnel failed, response 40" in line


@pytest.mark.parametrize("setting, site", [("HTTP_PROXY", "tdp"), ("HTTPS_PROXY", "tls_site")])
def test_a_proxy_that_is_not_there_is_named(request, certificates, setting, site):
    tdp = request.getfixturevalue(site)
    holder, port = closed_port()
    with contextlib.closing(holder):
        agent = tdp.start(CA_FILE=certificates.ca.certificate_file,
                          **{setting: f"http://user:secret@127.0.0.1:{port}"})
        line = agent.process.wait_for(lambda line: "polling for commands" in line)
    assert f"proxy 127.0.0.1:{port}" in line and "ECONNREFUSED" in line
    assert "secret" not in agent.log
