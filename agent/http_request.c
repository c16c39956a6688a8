/* What goes out: options of a handle, and what libcurl asks for on the way. */
#include "agent/http_inside.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define USER_AGENT "relay-agent/" VERSION

enum {
	/* libcurl's receive buffer of each transfer. It fills it up to 200 times before anybody
	 * else has a turn. */
	BUFFER_BYTES = 4 * 1024,
	/* What it sends at once, and the least that it takes. A call over TLS allocates that, and
	 * 64 KiB, its default, are more than the heap keeps between two calls. */
	UPLOAD_BUFFER_BYTES = 16 * 1024,
	CONTINUE_BYTES = 1024 * 1024, /* of a body, for which libcurl asks before it sends it */
	OWN_LINES_BYTES = 160,        /* header lines that are ours: at most */
	REQUEST_LINE_BYTES = 1024,    /* and headers of libcurl's own: at most */
};

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

/* With its closing zero. libcurl reads "Name:" as "leave it out" and "Name;" as "send it without a
 * value". */
static void append_line(struct http_lines *lines, const char *line)
{
	buf_append(&lines->text, line, strlen(line) + 1);
	lines->count++;
}

static void append_header(struct http_lines *lines, const char *name, const char *value)
{
	value += strspn(value, " \t");
	buf_append_str(&lines->text, name);
	buf_append_str(&lines->text, value[0] == '\0' ? ";" : ": ");
	append_line(lines, value);
}

/* As libcurl wants it, in one piece. It takes no copy. */
static struct curl_slist *link_lines(struct http_lines *lines)
{
	char *line = lines->text.data;
	if (lines->count == 0)
		return NULL;
	if (lines->text.failed != 0)
		abort(); /* as mem.h does */
	lines->list = mem_calloc(lines->count, sizeof lines->list[0]);
	for (size_t i = 0; i < lines->count; i++) {
		lines->list[i].data = line;
		lines->list[i].next = i + 1 < lines->count ? &lines->list[i + 1] : NULL;
		line += strlen(line) + 1;
	}
	return lines->list;
}

static size_t lines_size(const struct http_request *request)
{
	size_t size = OWN_LINES_BYTES;
	const struct http_headers *headers = request->headers;
	for (size_t i = 0; headers != NULL && i < headers->count; i++)
		size += strlen(headers->items[i].name) + strlen(headers->items[i].value) + 4;
	return size;
}

/* libcurl may ask for "100 Continue" before such a body, and waits a second for it. */
static bool waits_to_continue(const struct http_request *request)
{
	return request->body_kind == HTTP_BODY_FORM || request->body_kind == HTTP_BODY_SPOOL ||
	       request->body_size >= CONTINUE_BYTES;
}

static bool lacks(const struct http_request *request, const char *header)
{
	return request->headers == NULL || http_headers_get(request->headers, header) == NULL;
}

static void set_headers(struct http_exchange *exchange, const struct http_request *request)
{
	struct http_lines *lines = &exchange->lines;
	lines->text = BUF_INIT(SIZE_MAX / 2);
	/* In one piece from the beginning: a token is not left behind where it grows. */
	(void)buf_reserve(&lines->text, lines_size(request));
	/* As an option libcurl would print it twice, a letter at a time. */
	if (lacks(request, "User-Agent"))
		append_line(lines, "User-Agent: " USER_AGENT);
	for (size_t i = 0; request->headers != NULL && i < request->headers->count; i++)
		append_header(lines, request->headers->items[i].name,
			      request->headers->items[i].value);
	if (request->decode && lacks(request, "Accept-Encoding"))
		append_header(lines, "Accept-Encoding", HTTP_DECODE_ACCEPTED);
	if (waits_to_continue(request))
		append_line(lines, "Expect:");
	if (request->body_kind != HTTP_BODY_FORM && lacks(request, "Content-Type"))
		append_line(lines, "Content-Type:");
	curl_easy_setopt(exchange->easy, CURLOPT_HTTPHEADER, link_lines(lines));
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
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL);
		return 0;
	} else {
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	}
	exchange->ends_with_headers = is_head;
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
	return 0;
}

static const char *proxy_for(const struct http_request *request)
{
	bool is_tls = strncasecmp(request->url, "https:", 6) == 0;
	return is_tls ? request->profile->https_proxy : request->profile->http_proxy;
}

static void set_proxy(struct http_exchange *exchange, const struct http_profile *profile)
{
	CURL *easy = exchange->easy;
	curl_easy_setopt(easy, CURLOPT_PROXY, exchange->proxy);
	curl_easy_setopt(easy, CURLOPT_NOPROXY, profile->no_proxy != NULL ? profile->no_proxy : "");
	curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, USER_AGENT); /* for CONNECT */
}

static void set_tls(struct http_exchange *exchange, const struct http_request *request)
{
	CURL *easy = exchange->easy;
	const struct http_profile *profile = request->profile;
	bool is_checked = !request->ignore_tls_certificate;
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, is_checked ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, is_checked ? 2L : 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, exchange->client);
	curl_easy_setopt(
	    easy, CURLOPT_SSLVERSION,
	    (long)(profile->needs_tls12 ? CURL_SSLVERSION_TLSv1_2 : CURL_SSLVERSION_DEFAULT));
	curl_easy_setopt(easy, CURLOPT_SSLCERT, profile->client_cert_file);
	curl_easy_setopt(easy, CURLOPT_SSLKEY, profile->client_key_file);
}

static void set_contexts(struct http_exchange *exchange)
{
	CURL *easy = exchange->easy;
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->error_text);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
}

bool http_request_ready(CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* Or removing a transfer would wait for its name to be resolved. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* none from the environment */
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_before_send);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls_context);
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
	http_answer_ready(easy);
	return curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES) == CURLE_OK;
}

/* Nothing of what would have to be taken back before the next request. */
static bool is_plain(const struct http_exchange *exchange, const struct http_request *request)
{
	return exchange->proxy == NULL && request->user == NULL &&
	       (request->body_kind == HTTP_BODY_NONE || request->body_kind == HTTP_BODY_BYTES);
}

/* Over TLS libcurl 7.88 sends no more than two buffers of a head that no body follows, and then
 * waits for an answer: so a head has room in one. */
static long upload_buffer_size(const struct http_request *request)
{
	size_t size = REQUEST_LINE_BYTES + strlen(request->url) + lines_size(request);
	return size > UPLOAD_BUFFER_BYTES ? (long)size : UPLOAD_BUFFER_BYTES;
}

int http_request_set_up(struct http_exchange *exchange, const struct http_request *request,
			struct error *err)
{
	CURL *easy = exchange->easy;
	exchange->proxy = proxy_for(request);
	exchange->is_plain = is_plain(exchange, request);
	if (curl_easy_setopt(easy, CURLOPT_URL, request->url) != CURLE_OK)
		return error_set(err, ERR_MEMORY, "no memory for a URL");
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)request->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, upload_buffer_size(request));
	if (request->user != NULL) {
		curl_easy_setopt(easy, CURLOPT_USERNAME, request->user);
		curl_easy_setopt(easy, CURLOPT_PASSWORD,
				 request->password != NULL ? request->password : "");
	}
	if (exchange->proxy != NULL)
		set_proxy(exchange, request->profile);
	set_contexts(exchange);
	set_tls(exchange, request);
	set_headers(exchange, request);
	return set_method_and_body(exchange, request, err);
}
