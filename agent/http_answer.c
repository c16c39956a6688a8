/* What comes in: headers, and a body that is kept, decoded and bounded. */
#include "agent/http_inside.h"

#include "agent/limits.h"

#include <stdio.h>
#include <string.h>

static int keep_body(void *context, const void *bytes, size_t size)
{
	struct http_exchange *exchange = context;
	size_t before = exchange->into != NULL ? exchange->into->size : exchange->body.size;
	if (size > exchange->max_response_bytes - before) {
		exchange->is_too_large = true;
		return ERR_LIMIT;
	}
	if (exchange->into != NULL)
		return spool_append(exchange->into, bytes, size, &exchange->body_error);
	return buf_append(&exchange->body, bytes, size);
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
		exchange->decoder = http_decoder_new(encodings.data, exchange->max_response_bytes,
						     keep_body, exchange);
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
		rc = http_decoder_write(exchange->decoder, bytes, total, &exchange->body_error);
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

void http_answer_set_up(struct http_exchange *exchange)
{
	CURL *easy = exchange->easy;
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
}

/* Aborting behind the headers of a HEAD's answer is an error only to libcurl. */
bool http_answer_is_whole(struct http_exchange *exchange, CURLcode code)
{
	struct error *err = &exchange->body_error;
	if (!exchange->has_headers || err->code != 0)
		return false;
	if (exchange->ends_with_headers)
		return true;
	if (code != CURLE_OK)
		return false;
	return exchange->decoder == NULL || http_decoder_finish(exchange->decoder, err) == 0;
}

bool http_has_begun(const struct http_exchange *exchange)
{
	return exchange->has_headers;
}

bool http_next_header(const struct http_response *response, void **position, const char **name,
		      const char **value)
{
	struct curl_header *header = curl_easy_nextheader(response->exchange->easy, CURLH_HEADER,
							  -1, (struct curl_header *)*position);
	if (header == NULL)
		return false;
	*position = header;
	*name = header->name;
	*value = header->value;
	return true;
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
