#include "agent/target.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct target_call {
	struct http_client *client;
	const struct http_profile *profile;
	const struct payload *payload;
	struct spool *reply;
	void (*on_done)(void *context, struct http_response *response);
	void *context;
	struct http_exchange *exchange;
	int64_t deadline_ms;
	int64_t sent_bytes; /* of the hops before */
	int64_t received_bytes;
	int redirects;
	/* The hop that is under way; url and headers are the payload's until a redirect changes them. */
	const char *method;
	const struct url *url;
	const struct http_headers *headers;
	bool has_body;
	struct url own_url;
	struct http_headers own_headers;
};

static void on_hop_done(void *context, struct http_response *response);

static void start_hop(struct target_call *call)
{
	const struct payload *payload = call->payload;
	int64_t left_ms = call->deadline_ms - clock_monotonic_ms();
	size_t body_size;
	const char *body = payload_body(payload, &body_size);
	struct http_request request = {
	    .profile = call->profile,
	    .method = call->method,
	    .url = call->url->text,
	    .user = call->url->user,
	    .password = call->url->password,
	    .headers = call->headers,
	    .body_kind = call->has_body ? payload->body_kind : HTTP_BODY_NONE,
	    .body = call->has_body ? body : NULL,
	    .body_size = call->has_body ? body_size : 0,
	    .parts = payload->parts,
	    .part_count = payload->part_count,
	    .timeout_ms = left_ms > 1 ? left_ms : 1,
	    .told_timeout_ms = payload->timeout_ms,
	    .ignore_tls_certificate = payload->ignore_tls_certificate,
	    .decode = true,
	    .max_response_bytes = call->reply->max_bytes,
	    .into = call->reply,
	};
	call->exchange = http_start(call->client, &request, on_hop_done, call);
}

static void call_free(struct target_call *call)
{
	url_release(&call->own_url);
	http_headers_release(&call->own_headers);
	free(call);
}

static void finish(struct target_call *call, struct http_response *response)
{
	response->sent_bytes += call->sent_bytes;
	response->received_bytes += call->received_bytes;
	call->on_done(call->context, response);
	call_free(call);
}

static void finish_failed(struct target_call *call, struct http_response *response,
			  const char *code, const char *message)
{
	response->status = 0;
	response->code = code;
	snprintf(response->message, sizeof response->message, "%s", message);
	finish(call, response);
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* The method rules of the Fetch standard, which libcurl has too: 303 makes everything but
 * HEAD a GET, 301 and 302 make a GET of a POST, 307 and 308 change nothing. */
static void change_method(struct target_call *call, int status)
{
	static const char *const BODY_HEADERS[] = {"Content-Type", "Content-Encoding",
						   "Content-Language", "Content-Location", NULL};
	bool is_post = strcmp(call->method, "POST") == 0;
	bool is_head = strcmp(call->method, "HEAD") == 0;
	bool is_get = strcmp(call->method, "GET") == 0;
	bool becomes_get =
	    (status == 303 && !is_head && !is_get) || ((status == 301 || status == 302) && is_post);
	if (!becomes_get)
		return;
	call->method = "GET";
	call->has_body = false;
	for (const char *const *name = BODY_HEADERS; *name != NULL; name++)
		http_headers_remove(&call->own_headers, *name);
}

/* Credentials stay with the host, port and scheme that they were meant for. */
static void drop_credentials(struct target_call *call)
{
	static const char *const OWN_HEADERS[] = {"Authorization", "Cookie", "Proxy-Authorization",
						  "Host", NULL};
	for (const char *const *name = OWN_HEADERS; *name != NULL; name++)
		http_headers_remove(&call->own_headers, *name);
}

static void keep_user(const struct url *from, struct url *to)
{
	if (to->user != NULL || from->user == NULL)
		return;
	to->user = mem_strdup(from->user);
	to->password = from->password != NULL ? mem_strdup(from->password) : NULL;
}

static void own_headers(struct target_call *call)
{
	if (call->headers == &call->own_headers)
		return;
	http_headers_copy(call->headers, &call->own_headers);
	call->headers = &call->own_headers;
}

static void follow(struct target_call *call, struct http_response *response, const char *location)
{
	struct url next;
	struct error err;
	if (call->redirects >= call->payload->max_redirects) {
		finish_failed(call, response, "TOO_MANY_REDIRECTS",
			      "Maximum number of redirects exceeded");
		return;
	}
	if (url_resolve(call->url, location, &next, &err) != 0) {
		error_prefix(&err, "redirect with HTTP status %d", response->status);
		finish_failed(call, response, "INVALID_RESPONSE", err.message);
		return;
	}
	call->redirects++;
	call->sent_bytes += response->sent_bytes;
	call->received_bytes += response->received_bytes;
	own_headers(call);
	change_method(call, response->status);
	if (url_same_origin(call->url, &next))
		keep_user(call->url, &next);
	else
		drop_credentials(call);
	url_release(&call->own_url);
	call->own_url = next;
	call->url = &call->own_url;
	spool_reset(call->reply);
	start_hop(call);
}

static void on_hop_done(void *context, struct http_response *response)
{
	struct target_call *call = context;
	const char *location = NULL;
	if (is_redirect(response->status) && call->payload->max_redirects > 0)
		location = http_find_header(response, "location");
	if (location != NULL)
		follow(call, response, location);
	else
		finish(call, response);
}

struct target_call *target_start(struct http_client *client, const struct http_profile *profile,
				 const struct payload *payload, struct spool *reply,
				 void (*on_done)(void *context, struct http_response *response),
				 void *context)
{
	struct target_call *call = mem_new(struct target_call);
	call->client = client;
	call->profile = profile;
	call->payload = payload;
	call->reply = reply;
	call->on_done = on_done;
	call->context = context;
	call->deadline_ms = clock_monotonic_ms() + payload->timeout_ms;
	call->method = payload->method;
	call->has_body = payload->body_kind != HTTP_BODY_NONE;
	call->headers = &payload->headers;
	call->url = &payload->url;
	start_hop(call);
	return call;
}

void target_cancel(struct target_call *call)
{
	if (call == NULL)
		return;
	http_cancel(call->exchange);
	call_free(call);
}
