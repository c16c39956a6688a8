/* What the parts of an exchange share. Nobody else includes it.
 *
 *     http.c           begins one, ends it, and says how it ended
 *     http_request.c   what goes out, and how
 *     http_answer.c    what comes in */
#ifndef AGENT_HTTP_INSIDE_H
#define AGENT_HTTP_INSIDE_H

#include "agent/http.h"
#include "agent/http_decode.h"
#include "crypto/trust.h"

#include <curl/curl.h>
#include <netinet/in.h>

enum { IDLE_HANDLES_MAX = 64, ADDRESS_SIZE = INET6_ADDRSTRLEN + sizeof ":65535" };

struct http_client {
	struct loop *loop;
	struct trust *trust;
	/* Easy handles that wait to be used again: making one costs more than a request. They are
	 * ready, and have what plain requests set, which each sets anew. */
	CURL *idle[IDLE_HANDLES_MAX];
	size_t idle_count;
};

/* Header lines of a request. */
struct http_lines {
	struct buf text; /* may hold a token */
	size_t count;
	struct curl_slist *list; /* into text; NULL: none */
};

struct http_exchange {
	struct http_client *client;
	struct loop_transfer transfer;
	struct loop_task failure; /* queued when it could not be started */
	void (*on_done)(void *context, struct http_response *response);
	void *context;
	CURL *easy;
	const char *proxy; /* NULL: none */
	struct http_lines lines;
	curl_mime *form;
	struct buf body;
	struct spool *into;           /* NULL: the body is kept here */
	struct spool *body_spool;     /* of the request */
	struct http_decoder *decoder; /* NULL: the body is kept as it comes */
	struct spool encoded;         /* else that is here, and decoded when all of it came */
	struct loop_task decoding;    /* queued when that takes more than one turn */
	CURLcode curl_code;           /* how the transfer ended */
	struct error body_error;      /* why the body cannot be read */
	size_t max_response_bytes;
	int64_t timeout_ms;
	int64_t deadline_ms;
	char address[ADDRESS_SIZE]; /* the last one that a connection was tried to */
	char error_text[CURL_ERROR_SIZE];
	size_t headers_seen;
	size_t header_bytes_seen;
	unsigned times_sent;
	bool is_plain;           /* its handle has no option that the next request does not set */
	bool has_ended_well;     /* libcurl has nothing left of it */
	bool may_repeat;         /* GET and its like: once more, on a new connection */
	bool was_repeat_refused; /* libcurl wanted to send it again by itself */
	bool is_too_large;
	bool has_too_many_headers;
	bool decodes;
	bool has_body_begun;
	bool has_headers;       /* the final answer's are complete */
	bool ends_with_headers; /* HEAD with a body: libcurl does not know that no body follows */
};

/* What the request asks for, on the exchange's handle. */
NODISCARD int http_request_set_up(struct http_exchange *exchange,
				  const struct http_request *request, struct error *err);
/* What is the same for all requests, on a handle that is new or was reset. False: it still has the
 * buffer of a transfer that ended before it was connected. It has just forgotten how large that is,
 * and takes no new size; it would write behind its end. */
NODISCARD bool http_request_ready(CURL *easy);

/* Whatever comes goes into the exchange that CURLOPT_WRITEDATA and CURLOPT_HEADERDATA name. */
void http_answer_ready(CURL *easy);
/* Did the final answer come, whole? Otherwise body_error may say why not. */
bool http_answer_is_whole(const struct http_exchange *exchange);
/* Takes encodings off what came whole, a piece a turn. 1: there is more of it. Otherwise that was the
 * last: http_answer_is_whole again. */
int http_answer_decode(struct http_exchange *exchange);
/* What is left of it. */
void http_answer_release(struct http_exchange *exchange);

#endif
