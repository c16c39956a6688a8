/* What comes in: headers, and a body that is kept, decoded and bounded. */
#include "agent/http_inside.h"

#include "agent/limits.h"

#include <stdio.h>
#include <string.h>

enum { STEPS_A_TURN = 16 }; /* of decoding, of at most 16 KiB each */

static int keep_body(struct http_exchange *exchange, const void *bytes, size_t size)
{
	size_t before = exchange->into != NULL ? exchange->into->size : exchange->body.size;
	if (size > exchange->max_response_bytes - before) {
		exchange->is_too_large = true;
		return ERR_LIMIT;
	}
	if (exchange->into != NULL)
		return spool_append(exchange->into, bytes, size, &exchange->body_error);
	return buf_append(&exchange->body, bytes, size);
}

static int read_encoded(void *context, void *out, size_t room, size_t *count, struct error *err)
{
	struct http_exchange *exchange = context;
	return spool_read(&exchange->encoded, out, room, count, err);
}

/* What is encoded is kept so until all of it came: who sends a little and then nothing more holds no
 * decoder's window, which can be 16 MiB. It can be somewhat larger than what comes out. */
static void begin_encoded(struct http_exchange *exchange, const char *encodings)
{
	size_t max = exchange->max_response_bytes;
	exchange->decoder = http_decoder_new(encodings, max, read_encoded, exchange);
	if (exchange->decoder != NULL)
		spool_init(&exchange->encoded, SPOOL_SCRATCH,
			   exchange->into != NULL ? exchange->into->folder : NULL,
			   max + max / 64 + 4096);
}

/* All Content-Encoding headers as one list. */
static void begin_body(struct http_exchange *exchange)
{
	struct buf encodings = BUF_INIT(1024);
	struct curl_header *header;
	exchange->has_body_begun = true;
	for (size_t i = 0;
	     exchange->decodes && curl_easy_header(exchange->easy, "content-encoding", i,
						   CURLH_HEADER, -1, &header) == CURLHE_OK;
	     i++)
		buf_printf(&encodings, "%s,", header->value);
	if (encodings.size > 0 && encodings.failed == 0)
		begin_encoded(exchange, encodings.data);
	buf_release(&encodings);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
	struct http_exchange *exchange = context;
	size_t total = size * count;
	int rc;
	if (!exchange->has_body_begun)
		begin_body(exchange);
	if (exchange->decoder != NULL)
		rc = spool_append(&exchange->encoded, bytes, total, &exchange->body_error);
	else
		rc = keep_body(exchange, bytes, total);
	exchange->is_too_large |= rc == ERR_LIMIT;
	return rc == 0 ? total : CURL_WRITEFUNC_ERROR;
}

/* libcurl takes the last of several; two peers that take different ones can be played off
 * against each other (RFC 9112, 6.3). */
static bool has_two_lengths(CURL *easy)
{
	struct curl_header *header;
	char first[32];
	if (curl_easy_header(easy, "content-length", 0, CURLH_HEADER, -1, &header) != CURLHE_OK ||
	    header->amount < 2)
		return false;
	size_t amount = header->amount;
	snprintf(first, sizeof first, "%s", header->value);
	for (size_t i = 1; i < amount; i++) {
		if (curl_easy_header(easy, "content-length", i, CURLH_HEADER, -1, &header) ==
			CURLHE_OK &&
		    strcmp(first, header->value) != 0)
			return true;
	}
	return false;
}

/* Interim answers' and trailers count too, and of the bytes all that is no body. */
static bool has_too_many_headers(struct http_exchange *exchange, const char *line, size_t size,
				 bool is_blank)
{
	bool is_status = size > 5 && memcmp(line, "HTTP/", 5) == 0;
	if (!is_blank && !is_status)
		exchange->headers_seen++;
	exchange->header_bytes_seen += size;
	return exchange->headers_seen > LIMIT_ANSWER_HEADERS ||
	       exchange->header_bytes_seen > LIMIT_ANSWER_HEADER_BYTES;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *context)
{
	struct http_exchange *exchange = context;
	size_t total = size * count;
	bool is_blank = total <= 2 && (bytes[0] == '\r' || bytes[0] == '\n');
	long status = 0;
	if (has_too_many_headers(exchange, bytes, total, is_blank)) {
		exchange->has_too_many_headers = true;
		return 0;
	}
	if (!is_blank || exchange->has_headers)
		return total;
	curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
	exchange->has_headers = status >= 200;
	if (exchange->has_headers && has_two_lengths(exchange->easy)) {
		error_set(&exchange->body_error, ERR_SYNTAX,
			  "two different content-length headers");
		return 0;
	}
	return exchange->has_headers && exchange->ends_with_headers ? 0 : total;
}

void http_answer_ready(CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
}

int http_answer_decode(struct http_exchange *exchange)
{
	struct error *err = &exchange->body_error;
	int rc = 1;
	for (int step = 0; step < STEPS_A_TURN && rc == 1; step++) {
		const void *bytes;
		size_t count;
		rc = http_decoder_step(exchange->decoder, &bytes, &count, err);
		if (rc != 1 || count == 0)
			continue;
		int kept = keep_body(exchange, bytes, count);
		if (kept != 0 && err->code == 0)
			error_set(err, kept, "the decoded body is not taken");
		if (kept != 0)
			rc = kept;
	}
	exchange->is_too_large |= rc == ERR_LIMIT;
	return rc;
}

void http_answer_release(struct http_exchange *exchange)
{
	if (exchange->decoder != NULL)
		spool_release(&exchange->encoded);
	http_decoder_free(exchange->decoder);
	buf_release(&exchange->body);
}

/* Aborting behind the headers of a HEAD's answer is an error only to libcurl. */
bool http_answer_is_whole(const struct http_exchange *exchange)
{
	if (!exchange->has_headers || exchange->body_error.code != 0)
		return false;
	return exchange->ends_with_headers || exchange->curl_code == CURLE_OK;
}

bool http_has_begun(const struct http_exchange *exchange)
{
	return exchange->has_headers;
}

/* The struct that libcurl gives out is its own, and the next one asked for by name is written into it:
 * what it goes on from is the anchor. */
bool http_next_field(const struct http_response *response, void **position,
		     struct http_field *field)
{
	struct curl_header last = {.anchor = *position};
	struct curl_header *next = *position != NULL ? &last : NULL;
	do {
		next = curl_easy_nextheader(response->exchange->easy, CURLH_HEADER, -1, next);
		if (next == NULL)
			return false;
	} while (next->index > 0); /* it came with the first of that name */
	*position = next->anchor;
	*field = (struct http_field){next->name, next->value, next->amount};
	return true;
}

const char *http_field_value(const struct http_response *response, const char *name, size_t number)
{
	struct curl_header *header;
	bool is_there = curl_easy_header(response->exchange->easy, name, number, CURLH_HEADER, -1,
					 &header) == CURLHE_OK;
	return is_there ? header->value : "";
}

const char *http_find_header(const struct http_response *response, const char *name)
{
	struct curl_header *header;
	if (curl_easy_header(response->exchange->easy, name, 0, CURLH_HEADER, -1, &header) !=
	    CURLHE_OK)
		return NULL;
	return header->value +
	       strspn(header->value, " \t\r\n"); /* of an empty one the end is left */
}
