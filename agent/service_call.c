#include "agent/service_call.h"

#include "agent/limits.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_ID    "ts-request-id"
#define NO_REQUEST_ID "00000000-0000-0000-0000-000000000000"
_Static_assert(sizeof NO_REQUEST_ID == UUID_TEXT_SIZE, "an id replaces it in place");

/* A larger answer is parsed over several turns, so much in each. */
enum { PARSE_BYTES = 256 * 1024 };

struct service_call {
	struct loop *loop;
	struct http_exchange *exchange; /* NULL: it has ended, and the answer is being parsed */
	struct buf text;                /* of the answer */
	struct transport_outcome outcome;
	struct json_parser *parser;
	struct loop_task parse; /* a piece */
	const char *method;
	char *url;
	struct buf body;
	bool wipes_answer;
	struct json_object *answer;     /* parsed */
	struct json_elements *elements; /* NULL: not asked for */
	service_on_answer *on_answer;
	void *context;
};

int service_api_init(struct service_api *api, struct http_client *client,
		     const struct settings *settings, struct error *err)
{
	*api = (struct service_api){.client = client, .settings = settings};
	if (url_parse(settings->service_url, &api->url, err) != 0)
		return error_prefix(err, "COMMAND_SERVICE_URL");
	api->profile = (struct http_profile){.https_proxy = settings->https_proxy,
					     .http_proxy = settings->http_proxy,
					     .no_proxy = settings->no_proxy,
					     .client_cert_file = settings->client_cert_file,
					     .client_key_file = settings->client_key_file,
					     .needs_tls12 = true};
	http_headers_add(&api->headers, "ts-auth-token", settings->token.bytes);
	http_headers_add(&api->headers, "x-org-slug", settings->org_slug);
	http_headers_add(&api->headers, "Content-Type", "application/json");
	http_headers_add(&api->headers, "Accept", "application/json");
	http_headers_add(&api->headers, REQUEST_ID, NO_REQUEST_ID);
	return 0;
}

void service_api_release(struct service_api *api)
{
	for (size_t i = 0; i < api->headers.count; i++)
		secret_wipe(api->headers.items[i].value, strlen(api->headers.items[i].value));
	http_headers_release(&api->headers);
	url_release(&api->url);
}

/* Retry-After in seconds; its other form, a date, is rare and left to the back-off. */
int64_t service_retry_after_ms(const struct http_response *response)
{
	const char *text = http_find_header(response, "retry-after");
	int64_t seconds;
	if (text == NULL || !str_to_int64(text, &seconds) || seconds < 0)
		return 0;
	return seconds > INT32_MAX ? (int64_t)INT32_MAX : seconds * 1000;
}

/* The `message` of an error {statusCode, error, message}; NULL when there is none. */
static struct json_object *error_message(const struct http_response *response)
{
	struct json_object *json = NULL;
	struct json_object *message = NULL;
	if (json_parse_object(buf_str(response->body), response->body->size, &json, NULL) != 0)
		return NULL;
	message = json_object_get(json_member(json, "message"));
	json_object_put(json);
	if (json_object_is_type(message, json_type_string))
		return message;
	json_object_put(message);
	return NULL;
}

bool service_is_unreachable(const char *code)
{
	static const char *const codes[] = {"ECONNREFUSED", "EHOSTUNREACH", "ETIMEDOUT",
					    "ENOTFOUND"};
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		if (strcmp(code, codes[i]) == 0)
			return true;
	}
	return false;
}

char *service_by_proxy(const struct http_response *response)
{
	if (response->proxy[0] == '\0')
		return mem_strdup("");
	return mem_printf(response->status == 407
			      ? ": the proxy %s wants a user and a password, or others"
			      : " by way of the proxy %s",
			  response->proxy);
}

void transport_outcome_from_response(struct transport_outcome *outcome,
				     const struct http_response *response, const char *what)
{
	int status = response->status;
	*outcome =
	    (struct transport_outcome){.is_ok = status >= 200 && status <= 299, .status = status};
	if (outcome->is_ok)
		return;
	if (status == 0) {
		outcome->is_unreachable = service_is_unreachable(response->code);
		snprintf(outcome->reason, sizeof outcome->reason, "%s: %s", what,
			 response->message);
		return;
	}
	outcome->is_refused = status == 401 || status == 403;
	outcome->is_gone = status >= 400 && status <= 499 && !outcome->is_refused &&
			   status != 407 && status != 408 && status != 429;
	outcome->retry_after_ms = service_retry_after_ms(response);
	struct json_object *message = error_message(response);
	char *by = service_by_proxy(response);
	snprintf(outcome->reason, sizeof outcome->reason, "%s%s: HTTP status %d%s%s%s", what, by,
		 status, message != NULL ? ": " : "",
		 message != NULL ? json_object_get_string(message) : "",
		 outcome->is_refused ? " (check AUTH_TOKEN, ORG_SLUG and AGENT_ID)" : "");
	free(by);
	json_object_put(message);
}

static void service_call_free(struct service_call *call)
{
	json_parser_free(call->parser);
	loop_cancel(call->loop, &call->parse);
	json_object_put(call->answer);
	if (call->wipes_answer)
		buf_wipe(&call->text);
	buf_release(&call->text);
	free(call->url);
	buf_release(&call->body);
	free(call);
}

static void finish(struct service_call *call)
{
	call->on_answer(call->context, call->answer, &call->outcome);
	service_call_free(call);
}

/* "POST https://host/path": without parameters, which may be long. The caller frees it. */
static char *describe(const struct service_call *call)
{
	struct url url;
	struct error err;
	if (url_parse(call->url, &url, &err) != 0)
		return mem_strdup(call->method);
	char *shown = url_for_log(&url);
	char *what = mem_printf("%s %s", call->method, shown);
	free(shown);
	url_release(&url);
	return what;
}

static void fail(struct service_call *call, const struct error *err)
{
	char *what = describe(call);
	call->outcome.is_ok = false;
	snprintf(call->outcome.reason, sizeof call->outcome.reason,
		 "%s: the answer is not what the API says: %s", what, err->message);
	free(what);
}

/* False: there is more to parse. */
static bool parse_piece(struct service_call *call)
{
	struct error err;
	int rc = json_parser_step(call->parser, PARSE_BYTES, &call->answer, &err);
	if (rc == JSON_MORE)
		return false;
	if (rc == 0 && (rc = json_require_object(call->answer, &err)) != 0)
		call->answer = NULL;
	if (rc != 0)
		fail(call, &err);
	return true;
}

static void parse(void *context)
{
	struct service_call *call = context;
	if (parse_piece(call))
		finish(call);
	else
		loop_next_turn(call->loop, &call->parse);
}

static void on_response(void *context, struct http_response *response)
{
	struct service_call *call = context;
	call->exchange = NULL;
	bool is_ok = response->status >= 200 && response->status <= 299;
	char *what = is_ok ? NULL : describe(call); /* which takes as long as all else here */
	transport_outcome_from_response(&call->outcome, response, what);
	free(what);
	call->text = *response->body;
	*response->body = BUF_INIT(0);
	if (!call->outcome.is_ok) {
		finish(call);
		return;
	}
	call->parser = json_parser_new(buf_str(&call->text), call->text.size, call->elements);
	parse(call);
}

/* The headers are shared by all calls; http_start makes a copy at once. */
static void renew_request_id(struct service_api *api)
{
	for (size_t i = 0; i < api->headers.count; i++) {
		if (strcmp(api->headers.items[i].name, REQUEST_ID) == 0)
			random_uuid(api->headers.items[i].value);
	}
}

static struct service_call *start(struct service_api *api, const char *method,
				  const char *const *segments, const char *const *parameters,
				  struct buf *body, int64_t timeout_ms, size_t max_answer_bytes,
				  service_on_answer *on_answer, void *context)
{
	struct service_call *call = mem_new(struct service_call);
	call->loop = http_client_loop(api->client);
	call->parse = (struct loop_task){.run = parse, .context = call};
	call->on_answer = on_answer;
	call->context = context;
	call->url = url_build(&api->url, segments, parameters);
	call->method = method;
	call->body = *body;
	*body = BUF_INIT(0);
	struct http_request request = {
	    .profile = &api->profile,
	    .method = method,
	    .url = call->url,
	    .headers = &api->headers,
	    .body_kind = call->body.size > 0 ? HTTP_BODY_BYTES : HTTP_BODY_NONE,
	    .body = call->body.data,
	    .body_size = call->body.size,
	    .timeout_ms = timeout_ms,
	    .decode = true,
	    .max_response_bytes = max_answer_bytes,
	};
	renew_request_id(api);
	call->exchange = http_start(api->client, &request, on_response, call);
	return call;
}

struct service_call *service_call_start(struct service_api *api, const char *method,
					const char *const *segments, const char *const *parameters,
					struct json_object *body, int64_t timeout_ms,
					size_t max_answer_bytes, service_on_answer *on_answer,
					void *context)
{
	struct buf text = BUF_INIT(SIZE_MAX / 2);
	if (body != NULL)
		json_write(&text, body);
	json_object_put(body);
	return start(api, method, segments, parameters, &text, timeout_ms, max_answer_bytes,
		     on_answer, context);
}

struct service_call *service_call_start_text(struct service_api *api, const char *method,
					     const char *const *segments, struct buf *body,
					     int64_t timeout_ms, size_t max_answer_bytes,
					     service_on_answer *on_answer, void *context)
{
	return start(api, method, segments, NULL, body, timeout_ms, max_answer_bytes, on_answer,
		     context);
}

void service_call_cancel(struct service_call *call)
{
	if (call == NULL)
		return;
	http_cancel(call->exchange);
	service_call_free(call);
}

bool service_call_hurry(struct service_call *call)
{
	if (call == NULL || call->exchange != NULL)
		return false;
	while (!parse_piece(call))
		;
	finish(call);
	return true;
}

bool service_call_has_begun(const struct service_call *call)
{
	return call != NULL && call->exchange != NULL && http_has_begun(call->exchange);
}

void service_call_note(struct service_call *call, struct json_elements *elements)
{
	call->elements = elements;
}

struct buf service_call_take_text(struct service_call *call)
{
	struct buf text = call->text;
	call->text = BUF_INIT(0);
	return text;
}

void service_call_wipe_answer(struct service_call *call)
{
	call->wipes_answer = true;
}

struct json_object *service_agent_json(const struct service_api *api)
{
	struct json_object *body = json_new_object();
	json_set_text(body, "agentId", api->settings->agent_id);
	json_set_text(body, "agentVersion", "v" VERSION);
	return body;
}

struct service_call *service_announce_start(struct service_api *api, const char *status,
					    int64_t timeout_ms, service_on_answer *on_answer,
					    void *context)
{
	static const char *const path[] = {"v1", "data-acquisition", "agent", "status", NULL};
	struct json_object *body = service_agent_json(api);
	json_set_text(body, "agent", "TetraScience.Agent.user-defined");
	if (status != NULL)
		json_set_text(body, "statusSetting", status);
	return service_call_start(api, status != NULL ? "PUT" : "POST", path, NULL, body,
				  timeout_ms, LIMIT_SERVICE_ANSWER_BYTES, on_answer, context);
}

const struct url *service_api_address(const struct service_api *api)
{
	bool is_tls = strcmp(api->url.scheme, "https") == 0;
	const char *proxy = is_tls ? api->profile.https_proxy : api->profile.http_proxy;
	return proxy == NULL ? &api->url : NULL;
}
