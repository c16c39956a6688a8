#include "agent/sqs.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sqs_call {
	struct sqs *sqs;
	const char *operation;
	char *url;  /* "https://host:port/" */
	char *host; /* as the Host header has it: what is signed */
	char *what; /* "ReceiveMessage at https://host/path" */
	struct buf body;
	int64_t timeout_ms;
	size_t max_answer_bytes;
	struct http_exchange *exchange;
	uint64_t generation; /* of the keys that it was signed with */
	bool was_renewed;
	struct tdp_wait wait;
	sqs_on_answer *on_answer;
	void *context;
};

void sqs_init(struct sqs *sqs, struct http_client *client, const struct settings *settings,
	      struct tdp_credentials *credentials)
{
	*sqs = (struct sqs){.client = client, .credentials = credentials};
	/* The client certificate is for the platform, nobody else. */
	sqs->profile = (struct http_profile){.https_proxy = settings->https_proxy,
					     .http_proxy = settings->http_proxy,
					     .no_proxy = settings->no_proxy,
					     .needs_tls12 = true};
	sqs->signer.service = "sqs";
}

void sqs_set_region(struct sqs *sqs, const char *region)
{
	free(sqs->region);
	sqs->region = mem_strdup(region);
	sqs->signer.region = sqs->region;
	sigv4_reset(&sqs->signer);
}

void sqs_release(struct sqs *sqs)
{
	sigv4_reset(&sqs->signer);
	free(sqs->region);
}

void sqs_code_of(const char *type, char code[SQS_CODE_MAX])
{
	const char *name = strrchr(type, '#');
	name = name != NULL ? name + 1 : type;
	size_t size = 0;
	for (; size < SQS_CODE_MAX - 1; size++) {
		char c = name[size];
		bool is_part = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			       (c >= '0' && c <= '9') || c == '.' || c == '_';
		if (!is_part)
			break;
		code[size] = c;
	}
	code[size] = '\0';
}

bool sqs_is_lasting(const char *code)
{
	static const char *const lasting[] = {
	    "InvalidMessageContents", "InvalidParameterValue", "BatchRequestTooLong",
	    "MissingParameter",       "UnsupportedOperation",
	};
	for (size_t i = 0; i < sizeof lasting / sizeof lasting[0]; i++) {
		if (strstr(code, lasting[i]) != NULL)
			return true;
	}
	return false;
}

/* Whatever says that these keys will not do. */
static bool is_about_keys(const char *code)
{
	static const char *const words[] = {"ExpiredToken",       "InvalidClientTokenId",
					    "UnrecognizedClient", "InvalidAccessKeyId",
					    "AccessDenied",       "MissingAuthenticationToken",
					    "InvalidSignature",   "SignatureDoesNotMatch"};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strstr(code, words[i]) != NULL)
			return true;
	}
	return false;
}

/* What an answer that is no success says: {__type, message} or {__type, Message}. */
static void read_failure(const struct sqs_call *call, const struct http_response *response,
			 struct sqs_outcome *outcome)
{
	struct json_object *json = NULL;
	struct error err;
	const char *type = http_find_header(response, "x-amzn-errortype");
	const char *message = "";
	if (json_parse_object(buf_str(response->body), response->body->size, &json, &err) == 0) {
		if (type == NULL && json_get_text(json, "__type", &type, &err) != 0)
			type = NULL;
		if (json_get_text(json, "message", &message, &err) != 0 &&
		    json_get_text(json, "Message", &message, &err) != 0)
			message = "";
	}
	sqs_code_of(type != NULL ? type : "", outcome->code);
	struct transport_outcome *base = &outcome->base;
	base->is_refused =
	    response->status == 401 || response->status == 403 || is_about_keys(outcome->code);
	base->is_gone = response->status == 400 && sqs_is_lasting(outcome->code);
	base->retry_after_ms = service_retry_after_ms(response);
	char *by = service_by_proxy(response);
	snprintf(base->reason, sizeof base->reason, "%s%s: HTTP status %d%s%s%s%.200s", call->what,
		 by, response->status, outcome->code[0] != '\0' ? ": " : "", outcome->code,
		 message[0] != '\0' ? ": " : "", message);
	free(by);
	json_object_put(json);
}

static void call_free(struct sqs_call *call)
{
	free(call->url);
	free(call->host);
	free(call->what);
	buf_release(&call->body);
	free(call);
}

static void send_call(struct sqs_call *call);

/* Other keys may help, once: true when the call goes on. */
static bool renew(struct sqs_call *call)
{
	struct tdp_credentials *credentials = call->sqs->credentials;
	uint64_t generation = 0;
	if (call->was_renewed || !tdp_credentials_refused(credentials, call->generation))
		return false;
	call->was_renewed = true;
	if (tdp_credentials_keys(credentials, &generation) != NULL &&
	    generation != call->generation)
		send_call(call);
	else
		tdp_credentials_wait(credentials, &call->wait);
	return true;
}

static void on_response(void *context, struct http_response *response)
{
	struct sqs_call *call = context;
	struct sqs_outcome outcome = {.code = ""};
	struct json_object *answer = NULL;
	struct error err;
	call->exchange = NULL;
	outcome.base.status = response->status;
	if (response->status == 0) {
		outcome.base.is_unreachable = service_is_unreachable(response->code);
		snprintf(outcome.base.reason, sizeof outcome.base.reason, "%s: %.250s", call->what,
			 response->message);
	} else if (response->status != 200) {
		read_failure(call, response, &outcome);
		if (outcome.base.is_refused && renew(call))
			return;
	} else if (json_parse_object(buf_str(response->body), response->body->size, &answer,
				     &err) != 0) {
		snprintf(outcome.base.reason, sizeof outcome.base.reason,
			 "%s: the answer is not what SQS says: %.200s", call->what, err.message);
	} else {
		outcome.base.is_ok = true;
		tdp_credentials_accepted(call->sqs->credentials, call->generation);
	}
	call->on_answer(call->context, answer, &outcome);
	json_object_put(answer);
	call_free(call);
}

static void sign(struct sqs_call *call, const struct sigv4_keys *keys, struct http_headers *headers)
{
	struct sqs *sqs = call->sqs;
	char *target = mem_printf("AmazonSQS.%s", call->operation);
	if (sqs->signer_generation != call->generation) {
		sqs->signer_generation = call->generation;
		sqs->signer.keys = keys;
		sigv4_reset(&sqs->signer);
	}
	http_headers_add(headers, "Host", call->host);
	http_headers_add(headers, "Content-Type", "application/x-amz-json-1.0");
	http_headers_add(headers, "X-Amz-Target", target);
	sigv4_sign(&sqs->signer, "POST", "/", headers, call->body.data, call->body.size,
		   clock_now_ms());
	free(target);
}

static void wipe_headers(struct http_headers *headers)
{
	for (size_t i = 0; i < headers->count; i++)
		secret_wipe(headers->items[i].value, strlen(headers->items[i].value));
	http_headers_release(headers);
}

static void send_call(struct sqs_call *call)
{
	const struct sigv4_keys *keys =
	    tdp_credentials_keys(call->sqs->credentials, &call->generation);
	if (keys == NULL) {
		tdp_credentials_wait(call->sqs->credentials, &call->wait);
		return;
	}
	struct http_headers headers = {0};
	sign(call, keys, &headers);
	struct http_request request = {
	    .profile = &call->sqs->profile,
	    .method = "POST",
	    .url = call->url,
	    .headers = &headers,
	    .body_kind = HTTP_BODY_BYTES,
	    .body = call->body.data,
	    .body_size = call->body.size,
	    .timeout_ms = call->timeout_ms,
	    .max_response_bytes = call->max_answer_bytes,
	};
	call->exchange = http_start(call->sqs->client, &request, on_response, call);
	wipe_headers(&headers);
}

static void on_keys(void *context)
{
	struct sqs_call *call = context;
	send_call(call);
}

/* The host of the Host header as libcurl would write it: no port where it is the usual one. */
static void set_endpoint(struct sqs_call *call, const struct url *url)
{
	bool is_usual = url->port == (strcmp(url->scheme, "https") == 0 ? 443 : 80);
	char *shown = url_for_log(url);
	call->host =
	    is_usual ? mem_strdup(url->host) : mem_printf("%s:%u", url->host, (unsigned)url->port);
	call->url = mem_printf("%s://%s/", url->scheme, call->host);
	call->what = mem_printf("%s at %s", call->operation, shown);
	free(shown);
}

struct sqs_call *sqs_start(struct sqs *sqs, const char *operation, const char *queue_url,
			   struct json_object *body, int64_t timeout_ms, size_t max_answer_bytes,
			   sqs_on_answer *on_answer, void *context)
{
	struct sqs_call *call = mem_new(struct sqs_call);
	struct url url;
	struct error err;
	call->sqs = sqs;
	call->operation = operation;
	call->timeout_ms = timeout_ms;
	call->max_answer_bytes = max_answer_bytes;
	call->on_answer = on_answer;
	call->context = context;
	call->wait = (struct tdp_wait){.on_keys = on_keys, .context = call};
	/* Whoever named the queue has checked that this is one. */
	if (url_parse(queue_url, &url, &err) != 0)
		abort();
	set_endpoint(call, &url);
	url_release(&url);
	json_set_text(body, "QueueUrl", queue_url);
	buf_init(&call->body, SIZE_MAX / 2);
	json_write(&call->body, body);
	json_object_put(body);
	send_call(call);
	return call;
}

void sqs_cancel(struct sqs_call *call)
{
	if (call == NULL)
		return;
	http_cancel(call->exchange);
	tdp_credentials_cancel_wait(call->sqs->credentials, &call->wait);
	call_free(call);
}

bool sqs_let_finish(struct sqs_call *call)
{
	if (call->exchange == NULL || !http_has_begun(call->exchange))
		return false;
	call->was_renewed = true; /* another one might wait for long */
	return true;
}

struct json_object *sqs_entry(size_t index)
{
	char id[24];
	struct json_object *entry = json_new_object();
	snprintf(id, sizeof id, "%zu", index);
	json_set_text(entry, "Id", id);
	return entry;
}

int sqs_entry_index(struct json_object *item, size_t count)
{
	const char *id;
	int64_t index;
	struct error err;
	if (json_get_text(item, "Id", &id, &err) != 0 || !str_to_int64(id, &index) || index < 0 ||
	    index >= (int64_t)count)
		return -1;
	return (int)index;
}
