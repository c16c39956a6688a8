#include "agent/http_inside.h"

#include "agent/http_failure.h"
#include "agent/http_proxy.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

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

static CURL *take_handle(struct http_client *client)
{
	if (client->idle_count > 0)
		return client->idle[--client->idle_count];
	CURL *easy = curl_easy_init();
	if (easy == NULL || !http_request_ready(easy))
		abort(); /* as mem.h does */
	return easy;
}

/* A plain request leaves nothing behind that the next does not set anew. To reset the handle and to
 * set everything again would be a fiftieth of a command's instructions. */
static bool is_ready_again(const struct http_exchange *exchange)
{
	CURL *easy = exchange->easy;
	if (!exchange->is_plain) {
		curl_easy_reset(easy);
		return http_request_ready(easy);
	}
	/* What these point to goes with the exchange. */
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
	return true;
}

/* A transfer that did not end well leaves traces that no reset removes: an error number, or a
 * receive buffer. */
static void give_back(const struct http_exchange *exchange)
{
	struct http_client *client = exchange->client;
	if (client->idle_count < IDLE_HANDLES_MAX && exchange->has_ended_well &&
	    is_ready_again(exchange))
		client->idle[client->idle_count++] = exchange->easy;
	else
		curl_easy_cleanup(exchange->easy);
}

static void exchange_free(struct http_exchange *exchange)
{
	if (exchange->easy != NULL)
		give_back(exchange);
	http_answer_release(exchange);
	curl_mime_free(exchange->form);
	buf_wipe(&exchange->lines.text);
	free(exchange->lines.list);
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

static void explain(struct http_exchange *exchange, struct http_response *response)
{
	CURL *easy = exchange->easy;
	long os_errno = 0;
	long verify_result = 0;
	long request_bytes = 0;
	curl_off_t connected_us = 0;
	curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
	curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verify_result);
	curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &request_bytes);
	curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connected_us);
	CURLU *parsed = NULL;
	char *host = NULL;
	bool is_broken = exchange->curl_code == CURLE_OK || exchange->body_error.code == ERR_SYNTAX;
	struct http_attempt attempt = {
	    .curl_code = is_broken ? CURLE_WEIRD_SERVER_REPLY : (int)exchange->curl_code,
	    .os_errno = (int)os_errno,
	    .verify_result = verify_result,
	    .detail = exchange->body_error.code != 0 ? exchange->body_error.message
						     : exchange->error_text,
	    .address = exchange->address,
	    .host = host_of(easy, &parsed, &host),
	    .proxy = response->proxy,
	    .is_connected = connected_us > 0 || exchange->times_sent > 0,
	    .was_repeat_refused = exchange->was_repeat_refused,
	    .is_too_large = exchange->is_too_large,
	    .max_response_bytes = exchange->max_response_bytes,
	    .has_too_many_headers = exchange->has_too_many_headers,
	    .is_sending = exchange->times_sent > 0 && request_bytes == 0,
	    .waits_for_headers = request_bytes > 0 && !exchange->has_headers,
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
	exchange->is_plain = false;
	curl_easy_setopt(exchange->easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(exchange->easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
	curl_easy_setopt(exchange->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)left_ms);
	return loop_transfer_add(exchange->client->loop, &exchange->transfer, &err) == 0;
}

/* A body that we could not read or had no memory for. */
static bool is_own_fault(const struct error *err)
{
	return err->code == ERR_SYSTEM || err->code == ERR_MEMORY;
}

static void end(struct http_exchange *exchange)
{
	struct http_response response = {.exchange = exchange, .body = &exchange->body};
	long status = 0;
	curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
	bool is_whole = http_answer_is_whole(exchange);
	if (!is_whole || status >= 400)
		http_proxy_in_the_way(exchange->easy, exchange->proxy, exchange->address,
				      response.proxy);
	if (is_whole) {
		exchange->has_ended_well = exchange->curl_code == CURLE_OK;
		response.status = (int)status;
		response.is_decoded = exchange->decoder != NULL;
	} else if (is_own_fault(&exchange->body_error)) {
		response.code = "AGENT_ERROR";
		snprintf(response.message, sizeof response.message, "%s",
			 exchange->body_error.message);
	} else {
		explain(exchange, &response);
	}
	count_bytes(exchange->easy, &response);
	exchange->on_done(exchange->context, &response);
	exchange_free(exchange);
}

static void decode(void *context)
{
	struct http_exchange *exchange = context;
	if (http_answer_decode(exchange) == 1)
		loop_next_turn(exchange->client->loop, &exchange->decoding);
	else
		end(exchange);
}

static void on_transfer_done(void *context, int curl_code)
{
	struct http_exchange *exchange = context;
	if (repeat(exchange))
		return;
	exchange->curl_code = (CURLcode)curl_code;
	if (exchange->decoder == NULL || !http_answer_is_whole(exchange)) {
		end(exchange);
		return;
	}
	spool_rewind(&exchange->encoded);
	decode(exchange);
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
	exchange->decoding = (struct loop_task){.run = decode, .context = exchange};
	buf_init(&exchange->body, request->max_response_bytes);
	exchange->easy = take_handle(client);
	struct error err;
	exchange->transfer = (struct loop_transfer){
	    .easy = exchange->easy, .on_done = on_transfer_done, .context = exchange};
	if (http_request_set_up(exchange, request, &err) != 0 ||
	    loop_transfer_add(client->loop, &exchange->transfer, &err) != 0) {
		snprintf(exchange->error_text, sizeof exchange->error_text, "%.200s", err.message);
		exchange->failure = (struct loop_task){.run = on_start_failed, .context = exchange};
		loop_defer(client->loop, &exchange->failure);
	}
	return exchange;
}

void http_cancel(struct http_exchange *exchange)
{
	if (exchange == NULL)
		return;
	struct loop *loop = exchange->client->loop;
	if (exchange->failure.is_queued)
		loop_cancel(loop, &exchange->failure);
	else if (exchange->decoding.is_queued)
		loop_cancel(loop, &exchange->decoding);
	else
		loop_transfer_remove(loop, &exchange->transfer);
	exchange_free(exchange);
}
