#include "agent/http_failure.h"

#include "agent/limits.h"
#include "crypto/trust.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static void fail(struct http_response *response, const char *code, const char *format, ...)
    PRINTF_LIKE(3, 4);

static void fail(struct http_response *response, const char *code, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	response->code = code;
	vsnprintf(response->message, sizeof response->message, format, args);
	va_end(args);
}

static bool mentions(const char *detail, const char *word)
{
	return strcasestr(detail, word) != NULL;
}

/* libcurl keeps the errno of an earlier use of its handle: it is only right where a connect
 * has just failed. */
static void explain_connect(const struct http_attempt *attempt, struct http_response *response)
{
	const char *code;
	switch (attempt->os_errno) {
	case ECONNREFUSED:
		code = "ECONNREFUSED";
		break;
	case ETIMEDOUT:
		code = "ETIMEDOUT";
		break;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
	case EADDRNOTAVAIL:
	case EACCES:
	case EPERM:
		code = "EHOSTUNREACH";
		break;
	case ECONNRESET:
		code = "ECONNRESET";
		break;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
		fail(response, "AGENT_ERROR", "connect %s: %s", attempt->address,
		     strerror(attempt->os_errno));
		return;
	default:
		fail(response, "EHOSTUNREACH", "connect EHOSTUNREACH %s (%s)", attempt->address,
		     attempt->detail);
		return;
	}
	fail(response, code, "connect %s %s", code, attempt->address);
}

static void explain_timeout(const struct http_attempt *attempt, struct http_response *response)
{
	/* Without an address the time went by while the name was looked up. */
	if (!attempt->is_connected && attempt->address[0] != '\0')
		fail(response, "ETIMEDOUT", "connect ETIMEDOUT %s", attempt->address);
	else
		fail(response, "ECONNABORTED", "timeout of %lldms exceeded",
		     (long long)attempt->timeout_ms);
}

static void explain_certificate(const struct http_attempt *attempt, struct http_response *response)
{
	const char *code;
	const char *text;
	trust_explain(attempt->verify_result, &code, &text);
	if (code != NULL)
		fail(response, code, "%s", text);
	else
		fail(response, "ERR_TLS_CERT_ALTNAME_INVALID",
		     "Hostname/IP does not match certificate's altnames: Host: %s. is not in the "
		     "cert's "
		     "altnames",
		     attempt->host);
}

/* libcurl says "receive error" for a broken connection and for chunks that are none. */
static void explain_receive(const struct http_attempt *attempt, struct http_response *response)
{
	if (mentions(attempt->detail, "chunk"))
		fail(response, "INVALID_RESPONSE", "%s", attempt->detail);
	else
		fail(response, "ECONNRESET", "read ECONNRESET");
}

static void explain_send(const struct http_attempt *attempt, struct http_response *response)
{
	if (mentions(attempt->detail, "reset by peer"))
		fail(response, "ECONNRESET", "write ECONNRESET");
	else
		fail(response, "EPIPE", "write EPIPE");
}

/* What only a proxy says: it did not make the tunnel. */
static bool is_proxys_refusal(const char *detail)
{
	return mentions(detail, "from proxy") || mentions(detail, "CONNECT tunnel");
}

/* libcurl 7.88 has no other word for what is longer than it takes. */
static bool is_too_long(const struct http_attempt *attempt, const char *detail,
			struct http_response *response)
{
	enum { REQUEST_BYTES = 1024 * 1024, TRAILER_BYTES = 4096 }; /* its DYN_ limits */
	bool has_no_memory = attempt->curl_code == CURLE_OUT_OF_MEMORY;
	if (has_no_memory && attempt->is_sending)
		fail(response, "AGENT_ERROR",
		     "the request's URL and headers are more than %d bytes, or there is no memory "
		     "for them: nothing was sent",
		     REQUEST_BYTES);
	else if (has_no_memory && attempt->waits_for_headers)
		fail(response, "RESPONSE_TOO_LARGE",
		     "a header line of more than %d bytes, or no memory for it",
		     CURL_MAX_HTTP_HEADER);
	else if (mentions(detail, "Out of memory in chunked-encoding"))
		fail(response, "RESPONSE_TOO_LARGE",
		     "a trailer line of more than %d bytes, or no memory for it", TRAILER_BYTES);
	else
		return false;
	return true;
}

static void explain(const struct http_attempt *attempt, struct http_response *response)
{
	const char *detail = attempt->detail[0] != '\0'
				 ? attempt->detail
				 : curl_easy_strerror((CURLcode)attempt->curl_code);
	if (attempt->was_repeat_refused) {
		fail(response, "ECONNRESET", "socket hang up");
		return;
	}
	if (attempt->is_too_large) {
		fail(response, "RESPONSE_TOO_LARGE", "maxContentLength size of %zu exceeded",
		     attempt->max_response_bytes);
		return;
	}
	if (attempt->has_too_many_headers) {
		fail(response, "RESPONSE_TOO_LARGE", "more than %d headers, or %zu bytes of them",
		     LIMIT_ANSWER_HEADERS, LIMIT_ANSWER_HEADER_BYTES);
		return;
	}
	if (is_too_long(attempt, detail, response))
		return;
	if (is_proxys_refusal(detail)) {
		fail(response, "EPROTO", "%s", detail);
		return;
	}
	switch (attempt->curl_code) {
	case CURLE_COULDNT_RESOLVE_HOST:
		fail(response, "ENOTFOUND", "getaddrinfo ENOTFOUND %s", attempt->host);
		break;
	case CURLE_COULDNT_RESOLVE_PROXY:
		fail(response, "ENOTFOUND", "the proxy's name: %s", detail);
		break;
	case CURLE_COULDNT_CONNECT:
		explain_connect(attempt, response);
		break;
	case CURLE_OPERATION_TIMEDOUT:
		explain_timeout(attempt, response);
		break;
	case CURLE_PEER_FAILED_VERIFICATION:
		explain_certificate(attempt, response);
		break;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_PROXY:
		/* A peer that hangs up within the handshake is no TLS problem of ours to name. */
		if (mentions(detail, "reset by peer"))
			fail(response, "ECONNRESET", "read ECONNRESET");
		else
			fail(response, "EPROTO", "%s", detail);
		break;
	case CURLE_GOT_NOTHING:
		fail(response, "ECONNRESET", "socket hang up");
		break;
	case CURLE_RECV_ERROR:
		explain_receive(attempt, response);
		break;
	case CURLE_SEND_ERROR:
		explain_send(attempt, response);
		break;
	case CURLE_PARTIAL_FILE:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 */
	case CURLE_BAD_CONTENT_ENCODING:
	case CURLE_WRITE_ERROR:
		fail(response, "INVALID_RESPONSE", "%s", detail);
		break;
	default:
		fail(response, "AGENT_ERROR", "%s", detail);
		break;
	}
}

void http_failure_explain(const struct http_attempt *attempt, struct http_response *response)
{
	char message[sizeof response->message];
	bool is_about_proxy = !attempt->is_connected || is_proxys_refusal(attempt->detail);
	explain(attempt, response);
	if (attempt->proxy[0] == '\0')
		return;
	snprintf(message, sizeof message,
		 is_about_proxy ? "the proxy %s: %.200s" : "by way of the proxy %s: %.200s",
		 attempt->proxy, response->message);
	memcpy(response->message, message, sizeof message);
}
