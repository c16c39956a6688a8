#include "agent/http.h"

#include "agent/http_decode.h"
#include "agent/http_failure.h"
#include "agent/http_proxy.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/trust.h"

#include <arpa/inet.h>
#include <assert.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	IDLE_HANDLES_MAX = 64,
	/* libcurl's receive buffer of each transfer. It fills it up to 200 times before anybody
	 * else has a turn. */
	BUFFER_BYTES = 4 * 1024,
	/* What it sends at once, and the least that it takes. A call over TLS allocates that, and
	 * 64 KiB, its default, are more than the heap keeps between two calls. */
	UPLOAD_BUFFER_BYTES = 16 * 1024,
	REQUEST_LINE_BYTES = 1024, /* and headers of libcurl's own: at most */
	ADDRESS_SIZE = INET6_ADDRSTRLEN + sizeof ":65535",
};

struct http_client {
	struct loop *loop;
	struct trust *trust;
	/* Easy handles that wait to be used again: making one costs more than a request. */
	CURL *idle[IDLE_HANDLES_MAX];
	size_t idle_count;
};

struct http_exchange {
	struct http_client *client;
	struct loop_transfer transfer;
	struct loop_task failure; /* queued when it could not be started */
	void (*on_done)(void *context, struct http_response *response);
	void *context;
	CURL *easy;
	const char *proxy; /* NULL: none */
	struct curl_slist *header_lines;
	curl_mime *form;
	struct buf body;
	struct spool *into;           /* NULL: the body is kept here */
	struct spool *body_spool;     /* of the request */
	struct http_decoder *decoder; /* NULL: the body is kept as it comes */
	struct error body_error;      /* why the body cannot be read */
	size_t max_response_bytes;
	int64_t timeout_ms;
	int64_t deadline_ms;
	char address[ADDRESS_SIZE]; /* the last one that a connection was tried to */
	char error_text[CURL_ERROR_SIZE];
	unsigned times_sent;
	bool may_repeat;         /* GET and its like: once more, on a new connection */
	bool was_repeat_refused; /* libcurl wanted to send it again by itself */
	bool is_too_large;
	bool decodes;
	bool has_body_begun;
	bool has_headers;       /* the final answer's are complete */
	bool ends_with_headers; /* HEAD with a body: libcurl does not know that no body follows */
};

struct http_client *http_client_new(struct loop *loop, const char *ca_file, size_t max_connections,
				    struct error *err)
{
	struct http_client *client = mem_new(struct http_client);
	client->loop = loop;
	client->trust = trust_new(ca_file, err);
	if (client->trust == NULL) {
		http_client_free(client);
		return NULL;
	}
	loop_set_max_connections(loop, max_connections);
	return client;
}

void http_client_free(struct http_client *client)
{
	if (client == NULL)
		return;
	for (size_t i = 0; i < client->idle_count; i++)
		curl_easy_cleanup(client->idle[i]);
	trust_free(client->trust);
	free(client);
}

struct loop *http_client_loop(const struct http_client *client)
{
	return client->loop;
}

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

static size_t on_send_body(char *out, size_t size, size_t count, void *context)
{
	struct http_exchange *exchange = context;
	size_t got = 0;
	if (spool_read(exchange->body_spool, out, size * count, &got, &exchange->body_error) != 0)
		return CURL_READFUNC_ABORT;
	return got;
}

/* libcurl begins a body anew for a new connection or an authentication, never elsewhere. */
static int on_seek_body(void *context, curl_off_t offset, int origin)
{
	struct http_exchange *exchange = context;
	if (offset != 0 || origin != SEEK_SET)
		return CURL_SEEKFUNC_CANTSEEK;
	spool_rewind(exchange->body_spool);
	return CURL_SEEKFUNC_OK;
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
		exchange->decoder = http_decoder_new(encodings.data, keep_body, exchange);
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

static size_t on_header(char *bytes, size_t size, size_t count, void *context)
{
	struct http_exchange *exchange = context;
	size_t total = size * count;
	bool is_blank = total <= 2 && (bytes[0] == '\r' || bytes[0] == '\n');
	long status = 0;
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

/* Called before a request goes out on a connection. libcurl sends a request again by itself
 * when a connection that it kept breaks before an answer, up to five times: nobody asked for
 * that, and the target may have done its work. (CURLOPT_FORBID_RETRY_ON_REUSE came in 8.16.) */
static int on_before_send(void *context, char *remote_ip, char *local_ip, int remote_port,
			  int local_port)
{
	(void)remote_ip;
	(void)local_ip;
	(void)remote_port;
	(void)local_port;
	struct http_exchange *exchange = context;
	if (exchange->times_sent++ > 0) {
		exchange->was_repeat_refused = true;
		return CURL_PREREQFUNC_ABORT;
	}
	return CURL_PREREQFUNC_OK;
}

static void address_format(const struct sockaddr *address, char text[ADDRESS_SIZE])
{
	char ip[INET6_ADDRSTRLEN] = "";
	unsigned port = 0;
	if (address->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, address, sizeof in);
		inet_ntop(AF_INET, &in.sin_addr, ip, sizeof ip);
		port = ntohs(in.sin_port);
	} else if (address->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;
		memcpy(&in6, address, sizeof in6);
		inet_ntop(AF_INET6, &in6.sin6_addr, ip, sizeof ip);
		port = ntohs(in6.sin6_port);
	}
	snprintf(text, ADDRESS_SIZE, "%s:%u", ip, port);
}

static curl_socket_t on_open_socket(void *context, curlsocktype purpose,
				    struct curl_sockaddr *address)
{
	(void)purpose;
	struct http_exchange *exchange = context;
	address_format(&address->addr, exchange->address);
	return socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
		      address->protocol);
}

static CURLcode on_tls_context(CURL *easy, void *ssl_ctx, void *context)
{
	(void)easy;
	struct http_client *client = context;
	trust_apply(client->trust, ssl_ctx);
	return CURLE_OK;
}

/* libcurl reads "Name:" as "leave it out" and "Name;" as "send it without a value". */
static void append_line(struct http_exchange *exchange, const char *line)
{
	struct curl_slist *longer = curl_slist_append(exchange->header_lines, line);
	if (longer == NULL)
		abort(); /* as mem.h does */
	exchange->header_lines = longer;
}

/* In the caller's buffer: libcurl makes a copy. */
static void append_header(struct http_exchange *exchange, struct buf *line, const char *name,
			  const char *value)
{
	value += strspn(value, " \t");
	buf_reset(line);
	buf_append_str(line, name);
	buf_append_str(line, value[0] == '\0' ? ";" : ": ");
	if (buf_append_str(line, value) != 0)
		abort(); /* as mem.h does */
	append_line(exchange, line->data);
}

static void set_headers(struct http_exchange *exchange, const struct http_request *request)
{
	struct buf line = BUF_INIT(SIZE_MAX / 2);
	for (size_t i = 0; request->headers != NULL && i < request->headers->count; i++)
		append_header(exchange, &line, request->headers->items[i].name,
			      request->headers->items[i].value);
	if (request->decode && (request->headers == NULL ||
				http_headers_get(request->headers, "Accept-Encoding") == NULL))
		append_header(exchange, &line, "Accept-Encoding", HTTP_DECODE_ACCEPTED);
	buf_wipe(&line); /* it may hold a token */
	/* Without this a body over 1 MiB waits a second for "100 Continue". */
	append_line(exchange, "Expect:");
	if (request->body_kind != HTTP_BODY_FORM &&
	    (request->headers == NULL ||
	     http_headers_get(request->headers, "Content-Type") == NULL))
		append_line(exchange, "Content-Type:");
	curl_easy_setopt(exchange->easy, CURLOPT_HTTPHEADER, exchange->header_lines);
}

static int set_form(struct http_exchange *exchange, const struct http_request *request,
		    struct error *err)
{
	exchange->form = curl_mime_init(exchange->easy);
	for (size_t i = 0; i < request->part_count; i++) {
		const struct http_part *part = &request->parts[i];
		curl_mimepart *mime = curl_mime_addpart(exchange->form);
		if (mime == NULL || curl_mime_name(mime, part->name) != CURLE_OK ||
		    curl_mime_data(mime, part->value, part->size) != CURLE_OK ||
		    curl_mime_filename(mime, part->filename) != CURLE_OK ||
		    curl_mime_type(mime, part->content_type) != CURLE_OK)
			return error_set(err, ERR_MEMORY, "no memory for a form of %zu parts",
					 request->part_count);
	}
	curl_easy_setopt(exchange->easy, CURLOPT_MIMEPOST, exchange->form);
	return 0;
}

static bool expects_body(const char *method)
{
	return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
	       strcmp(method, "PATCH") == 0;
}

static int set_method_and_body(struct http_exchange *exchange, const struct http_request *request,
			       struct error *err)
{
	CURL *easy = exchange->easy;
	bool is_head = strcmp(request->method, "HEAD") == 0;
	exchange->may_repeat =
	    strcmp(request->method, "POST") != 0 && strcmp(request->method, "PATCH") != 0;
	if (request->body_kind == HTTP_BODY_FORM) {
		if (set_form(exchange, request, err) != 0)
			return err->code;
	} else if (request->body_kind == HTTP_BODY_SPOOL) {
		spool_rewind(request->body_spool);
		exchange->body_spool = request->body_spool;
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)request->body_spool->size);
		curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send_body);
		curl_easy_setopt(easy, CURLOPT_READDATA, exchange);
		curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek_body);
		curl_easy_setopt(easy, CURLOPT_SEEKDATA, exchange);
	} else if (request->body_kind == HTTP_BODY_BYTES || expects_body(request->method)) {
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
				 request->body_size > 0 ? request->body : "");
	} else if (is_head) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		return 0;
	}
	exchange->ends_with_headers = is_head;
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
	return 0;
}

static void set_profile(struct http_exchange *exchange, const struct http_request *request)
{
	CURL *easy = exchange->easy;
	const struct http_profile *profile = request->profile;
	bool is_tls = strncasecmp(request->url, "https:", 6) == 0;
	const char *proxy = is_tls ? profile->https_proxy : profile->http_proxy;
	exchange->proxy = proxy;
	curl_easy_setopt(easy, CURLOPT_PROXY, proxy != NULL ? proxy : "");
	curl_easy_setopt(easy, CURLOPT_NOPROXY, profile->no_proxy != NULL ? profile->no_proxy : "");
	curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	if (profile->needs_tls12)
		curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSLCERT, profile->client_cert_file);
	curl_easy_setopt(easy, CURLOPT_SSLKEY, profile->client_key_file);
}

static void set_tls(struct http_exchange *exchange, bool ignore_certificate)
{
	CURL *easy = exchange->easy;
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, ignore_certificate ? 0L : 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, ignore_certificate ? 0L : 2L);
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls_context);
	curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, exchange->client);
}

static void set_callbacks(struct http_exchange *exchange)
{
	CURL *easy = exchange->easy;
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->error_text);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_before_send);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, exchange);
}

/* False: the handle still has the buffer of a transfer that ended before it was connected. It has
 * just forgotten how large that is, and takes no new size; it would write behind its end. */
static bool set_buffer_size(CURL *easy)
{
	return curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES) == CURLE_OK;
}

/* Over TLS libcurl 7.88 sends no more than two buffers of a head that no body follows, and then
 * waits for an answer: so a head has room in one. */
static long upload_buffer_size(const struct http_request *request)
{
	size_t size = REQUEST_LINE_BYTES + strlen(request->url);
	const struct http_headers *headers = request->headers;
	for (size_t i = 0; headers != NULL && i < headers->count; i++)
		size += strlen(headers->items[i].name) + strlen(headers->items[i].value) + 4;
	return size > UPLOAD_BUFFER_BYTES ? (long)size : UPLOAD_BUFFER_BYTES;
}

static int set_up(struct http_exchange *exchange, const struct http_request *request,
		  struct error *err)
{
	CURL *easy = exchange->easy;
	if (curl_easy_setopt(easy, CURLOPT_URL, request->url) != CURLE_OK)
		return error_set(err, ERR_MEMORY, "no memory for a URL");
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* Or removing a transfer would wait for its name to be resolved. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "relay-agent/" VERSION);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)request->timeout_ms);
	if (!set_buffer_size(easy))
		return error_set(err, ERR_SYSTEM, "libcurl keeps another buffer");
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, upload_buffer_size(request));
	curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
	if (request->user != NULL) {
		curl_easy_setopt(easy, CURLOPT_USERNAME, request->user);
		curl_easy_setopt(easy, CURLOPT_PASSWORD,
				 request->password != NULL ? request->password : "");
	}
	set_callbacks(exchange);
	set_profile(exchange, request);
	set_tls(exchange, request->ignore_tls_certificate);
	set_headers(exchange, request);
	return set_method_and_body(exchange, request, err);
}

static void exchange_free(struct http_exchange *exchange)
{
	struct http_client *client = exchange->client;
	if (exchange->easy != NULL) {
		curl_easy_reset(exchange->easy);
		if (client->idle_count < IDLE_HANDLES_MAX && set_buffer_size(exchange->easy))
			client->idle[client->idle_count++] = exchange->easy;
		else
			curl_easy_cleanup(exchange->easy);
	}
	http_decoder_free(exchange->decoder);
	curl_mime_free(exchange->form);
	curl_slist_free_all(exchange->header_lines);
	buf_release(&exchange->body);
	free(exchange);
}

static const char *host_of(CURL *easy, CURLU **parsed, char **host)
{
	char *url = NULL;
	curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &url);
	*parsed = curl_url();
	if (*parsed == NULL || url == NULL ||
	    curl_url_set(*parsed, CURLUPART_URL, url, 0) != CURLUE_OK ||
	    curl_url_get(*parsed, CURLUPART_HOST, host, 0) != CURLUE_OK)
		return "";
	return *host;
}

static void explain(struct http_exchange *exchange, CURLcode code, struct http_response *response)
{
	CURL *easy = exchange->easy;
	long os_errno = 0;
	long verify_result = 0;
	curl_off_t connected_us = 0;
	curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
	curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verify_result);
	curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connected_us);
	CURLU *parsed = NULL;
	char *host = NULL;
	struct http_attempt attempt = {
	    .curl_code = (int)code,
	    .os_errno = (int)os_errno,
	    .verify_result = verify_result,
	    .detail = exchange->error_text,
	    .address = exchange->address,
	    .host = host_of(easy, &parsed, &host),
	    .proxy = response->proxy,
	    .is_connected = connected_us > 0 || exchange->times_sent > 0,
	    .was_repeat_refused = exchange->was_repeat_refused,
	    .is_too_large = exchange->is_too_large,
	    .max_response_bytes = exchange->max_response_bytes,
	    .timeout_ms = exchange->timeout_ms,
	};
	http_failure_explain(&attempt, response);
	curl_free(host);
	curl_url_cleanup(parsed);
}

static void count_bytes(CURL *easy, struct http_response *response)
{
	curl_off_t uploaded = 0;
	curl_off_t downloaded = 0;
	curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
	curl_easy_getinfo(easy, CURLINFO_SIZE_DOWNLOAD_T, &downloaded);
	response->sent_bytes = uploaded;
	response->received_bytes = downloaded;
}

/* A kept connection broke before the answer. What may be repeated goes out once more, on a
 * new connection, so that a second failure is the target's own. */
static bool repeat(struct http_exchange *exchange)
{
	int64_t left_ms = exchange->deadline_ms - clock_monotonic_ms();
	struct error err;
	if (!exchange->was_repeat_refused || !exchange->may_repeat || left_ms <= 0)
		return false;
	exchange->was_repeat_refused = false;
	exchange->may_repeat = false;
	exchange->times_sent = 0;
	exchange->error_text[0] = '\0';
	if (exchange->body_spool != NULL)
		spool_rewind(exchange->body_spool);
	curl_easy_setopt(exchange->easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(exchange->easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
	curl_easy_setopt(exchange->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)left_ms);
	return loop_transfer_add(exchange->client->loop, &exchange->transfer, &err) == 0;
}

/* Did the final answer come, whole? Aborting behind the headers of a HEAD's answer is an
 * error only to libcurl. */
static bool is_answered(struct http_exchange *exchange, CURLcode code)
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

/* A body that we could not read or had no memory for. */
static bool is_own_fault(const struct error *err)
{
	return err->code == ERR_SYSTEM || err->code == ERR_MEMORY;
}

static void on_transfer_done(void *context, int curl_code)
{
	struct http_exchange *exchange = context;
	struct http_response response = {.exchange = exchange, .body = &exchange->body};
	long status = 0;
	if (repeat(exchange))
		return;
	curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
	bool is_whole = is_answered(exchange, (CURLcode)curl_code);
	if (!is_whole || status >= 400)
		http_proxy_in_the_way(exchange->easy, exchange->proxy, exchange->address,
				      response.proxy);
	if (is_whole) {
		response.status = (int)status;
		response.is_decoded = exchange->decoder != NULL;
	} else if (is_own_fault(&exchange->body_error)) {
		response.code = "AGENT_ERROR";
		snprintf(response.message, sizeof response.message, "%s",
			 exchange->body_error.message);
	} else {
		bool is_broken = curl_code == CURLE_OK || exchange->body_error.code == ERR_SYNTAX;
		explain(exchange, is_broken ? CURLE_WEIRD_SERVER_REPLY : (CURLcode)curl_code,
			&response);
	}
	count_bytes(exchange->easy, &response);
	exchange->on_done(exchange->context, &response);
	exchange_free(exchange);
}

/* What could not even start is told as any other end: later, by the callback. */
static void on_start_failed(void *context)
{
	struct http_exchange *exchange = context;
	struct http_response response = {
	    .exchange = exchange, .body = &exchange->body, .code = "AGENT_ERROR"};
	snprintf(response.message, sizeof response.message, "%s", exchange->error_text);
	exchange->on_done(exchange->context, &response);
	exchange_free(exchange);
}

struct http_exchange *http_start(struct http_client *client, const struct http_request *request,
				 void (*on_done)(void *context, struct http_response *response),
				 void *context)
{
	struct http_exchange *exchange = mem_new(struct http_exchange);
	exchange->client = client;
	exchange->on_done = on_done;
	exchange->context = context;
	exchange->max_response_bytes = request->max_response_bytes;
	exchange->timeout_ms =
	    request->told_timeout_ms > 0 ? request->told_timeout_ms : request->timeout_ms;
	exchange->deadline_ms = clock_monotonic_ms() + request->timeout_ms;
	exchange->decodes = request->decode;
	exchange->into = request->into;
	buf_init(&exchange->body, request->max_response_bytes);
	exchange->easy =
	    client->idle_count > 0 ? client->idle[--client->idle_count] : curl_easy_init();
	struct error err;
	if (exchange->easy == NULL)
		abort(); /* as mem.h does */
	exchange->transfer = (struct loop_transfer){
	    .easy = exchange->easy, .on_done = on_transfer_done, .context = exchange};
	if (set_up(exchange, request, &err) != 0 ||
	    loop_transfer_add(client->loop, &exchange->transfer, &err) != 0) {
		snprintf(exchange->error_text, sizeof exchange->error_text, "%.200s", err.message);
		exchange->failure = (struct loop_task){.run = on_start_failed, .context = exchange};
		loop_defer(client->loop, &exchange->failure);
	}
	return exchange;
}

bool http_has_begun(const struct http_exchange *exchange)
{
	return exchange->has_body_begun;
}

void http_cancel(struct http_exchange *exchange)
{
	if (exchange == NULL)
		return;
	if (exchange->failure.is_queued)
		loop_cancel(exchange->client->loop, &exchange->failure);
	else
		loop_transfer_remove(exchange->client->loop, &exchange->transfer);
	exchange_free(exchange);
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
	return header->value;
}
