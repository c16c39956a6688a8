/* Names what went wrong with an exchange: from libcurl's result to the stable codes and
 * texts of commands. Used by http.c alone. */
#ifndef AGENT_HTTP_FAILURE_H
#define AGENT_HTTP_FAILURE_H

#include "agent/http.h"

/* What http.c knows about an exchange without an answer. */
struct http_attempt {
	int curl_code;             /* CURLcode */
	int os_errno;              /* CURLINFO_OS_ERRNO */
	long verify_result;        /* CURLINFO_SSL_VERIFYRESULT */
	const char *detail;        /* libcurl's error buffer */
	const char *address;       /* "127.0.0.1:80", the last one tried; "" before any */
	const char *host;          /* of the URL */
	const char *proxy;         /* "host:port" of the one in the way; "": none */
	bool is_connected;         /* a connection (with TLS where asked for) stood */
	bool was_repeat_refused;   /* libcurl wanted to send the request a second time */
	bool is_too_large;         /* the body went past the limit */
	size_t max_response_bytes; /* that limit */
	bool has_too_many_headers; /* … or the headers past those of limits.h */
	bool is_sending;           /* nothing of the request has gone out yet */
	bool waits_for_headers;    /* it has, and not all of the answer's headers have come */
	int64_t timeout_ms;
};

/* Fills response->code and response->message. */
void http_failure_explain(const struct http_attempt *attempt, struct http_response *response);

#endif
