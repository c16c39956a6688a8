/* The verb `send`: what curl is to a target that can be reached, this is to one behind a
 * relay. send_options.c reads the command line into a payload; here it travels. */
#include "agent/cmd.h"
#include "agent/send_options.h"
#include "agent/service_call.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/base64.h"
#include "crypto/envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CALL_TIMEOUT_MS = 60000,
	WAIT_SECONDS = 20,
	ASK_AGAIN_MS = 1000, /* for a service that does not know how to wait */
	FAILURES_MAX = 8,
};

static const size_t RECORD_MAX_BYTES = (size_t)1 << 30;

struct send {
	const struct settings *settings;
	const struct send_options *options;
	struct loop *loop;
	struct http_client *client;
	struct service_api api;
	struct aead *key; /* with --encrypt */
	char *id;         /* of the command, once the service has it */
	struct loop_timer *ask_again;
	int64_t asked_ms;
	unsigned failures; /* in a row, of asking */
	int rc;            /* 0, or a code with err filled */
	struct error err;
	struct json_object *record;
};

static void finish(struct send *send, int rc)
{
	send->rc = rc;
	loop_stop(send->loop);
}

static bool is_terminal(const char *status)
{
	static const char *const open[] = {"CREATED", "PENDING", "PROCESSING", NULL};
	for (const char *const *name = open; *name != NULL; name++) {
		if (strcmp(status, *name) == 0)
			return false;
	}
	return true;
}

static const char *status_of(struct json_object *record)
{
	const char *status = "";
	struct error err;
	return json_get_text(record, "status", &status, &err) == 0 ? status : "";
}

static void on_large_response(void *context, struct json_object *answer,
			      const struct transport_outcome *outcome)
{
	struct send *send = context;
	if (!outcome->is_ok) {
		finish(send, error_set(&send->err, ERR_NETWORK, "command %s has ended, but: %s",
				       send->id, outcome->reason));
		return;
	}
	json_set(send->record, "responseBody", json_object_get(answer));
	finish(send, 0);
}

static void on_record(void *context, struct json_object *record,
		      const struct transport_outcome *outcome);

static void ask(void *context)
{
	struct send *send = context;
	const char *const path[] = {"v1", "commands", send->id, NULL};
	const char *const parameters[] = {"wait", "20", NULL};
	send->asked_ms = clock_monotonic_ms();
	service_call_start(&send->api, "GET", path, parameters, NULL,
			   CALL_TIMEOUT_MS + WAIT_SECONDS * 1000, RECORD_MAX_BYTES, on_record,
			   send);
}

static void ask_failed(struct send *send, const struct transport_outcome *outcome)
{
	bool is_hopeless = outcome->is_refused || outcome->is_gone;
	if (is_hopeless || ++send->failures >= FAILURES_MAX)
		finish(send,
		       error_set(&send->err, ERR_NETWORK,
				 "command %s was sent, but its answer cannot be asked for: %s",
				 send->id, outcome->reason));
	else
		loop_timer_start(send->ask_again, ASK_AGAIN_MS);
}

static void on_record(void *context, struct json_object *record,
		      const struct transport_outcome *outcome)
{
	struct send *send = context;
	if (!outcome->is_ok) {
		ask_failed(send, outcome);
		return;
	}
	send->failures = 0;
	if (!is_terminal(status_of(record))) {
		int64_t took_ms = clock_monotonic_ms() - send->asked_ms;
		loop_timer_start(send->ask_again, took_ms < ASK_AGAIN_MS ? ASK_AGAIN_MS : 0);
		return;
	}
	send->record = json_object_get(record);
	if (json_member(record, "responseBody") == NULL &&
	    json_member(record, "responseBodyUrl") != NULL) {
		const char *const path[] = {"v1", "commands", send->id, "response", NULL};
		service_call_start(&send->api, "GET", path, NULL, NULL, 10 * CALL_TIMEOUT_MS,
				   RECORD_MAX_BYTES, on_large_response, send);
		return;
	}
	finish(send, 0);
}

static void on_created(void *context, struct json_object *record,
		       const struct transport_outcome *outcome)
{
	struct send *send = context;
	const char *id;
	if (!outcome->is_ok) {
		finish(send, error_set(&send->err, ERR_NETWORK, "%s", outcome->reason));
	} else if (json_get_text(record, "id", &id, &send->err) != 0) {
		finish(send, error_prefix(&send->err, "the service's record"));
	} else {
		send->id = mem_strdup(id);
		ask(send);
	}
}

/* The payload as the action wants it: plain, or sealed with the key. */
static struct json_object *payload_of(struct send *send)
{
	if (send->key == NULL)
		return json_object_get(send->options->payload);
	struct buf plain = BUF_INIT(RECORD_MAX_BYTES);
	struct buf sealed = BUF_INIT(RECORD_MAX_BYTES);
	struct json_object *envelope = NULL;
	json_write(&plain, send->options->payload);
	if (envelope_seal(send->key, plain.data, plain.size, &sealed, &send->err) == 0)
		envelope = json_new_raw(sealed.data, sealed.size);
	buf_wipe(&plain);
	buf_release(&sealed);
	return envelope;
}

static int submit(struct send *send)
{
	const struct send_options *options = send->options;
	const char *const path[] = {"v1", "commands", NULL};
	char expires_at[CLOCK_TEXT_SIZE];
	struct json_object *payload = payload_of(send);
	if (payload == NULL)
		return send->err.code;
	clock_format(clock_now_ms() + options->ttl_seconds * 1000, expires_at);
	struct json_object *body = json_new_object();
	json_set_text(body, "targetId",
		      options->target != NULL ? options->target : send->settings->agent_id);
	json_set_text(body, "action", options->action);
	json_set_text(body, "expiresAt", expires_at);
	json_set(body, "payload", payload);
	service_call_start(&send->api, "POST", path, NULL, body, CALL_TIMEOUT_MS, RECORD_MAX_BYTES,
			   on_created, send);
	return 0;
}

static int travel(struct send *send)
{
	struct error *err = &send->err;
	if ((send->loop = loop_new(err)) == NULL)
		return err->code;
	if ((send->client = http_client_new(send->loop, send->settings->ca_file, 4, err)) == NULL)
		return err->code;
	if (service_api_init(&send->api, send->client, send->settings, err) != 0)
		return err->code;
	send->ask_again = loop_timer_new(send->loop, ask, send);
	if (submit(send) != 0)
		return err->code;
	loop_run(send->loop);
	return send->rc;
}

/* Replaces the record's sealed answer by what was sealed. A plain one stays: the agent
 * answers in plain when it could not decrypt. */
static int unseal(struct send *send)
{
	struct json_object *sealed = json_member(send->record, "responseBody");
	struct json_object *answer = NULL;
	struct buf plain = BUF_INIT(RECORD_MAX_BYTES);
	if (send->key == NULL || json_member(sealed, "ciphertext") == NULL)
		return 0;
	int rc = envelope_open(send->key, sealed, &plain, &send->err);
	if (rc == 0)
		rc = json_parse(buf_str(&plain), plain.size, &answer, &send->err);
	if (rc == 0)
		json_set(send->record, "responseBody", answer);
	else
		error_prefix(&send->err, "the answer of command %s cannot be opened", send->id);
	buf_wipe(&plain);
	return rc;
}

static void append_headers(struct buf *out, struct json_object *answer)
{
	struct json_object *headers = json_member(answer, "headers");
	size_t count =
	    json_object_is_type(headers, json_type_array) ? json_object_array_length(headers) : 0;
	for (size_t i = 0; i < count; i++) {
		struct json_object *item = json_object_array_get_idx(headers, i);
		if (!json_object_is_type(item, json_type_object))
			continue;
		json_object_object_foreach(item, name, value)
		{
			bool is_list = json_object_is_type(value, json_type_array);
			size_t values = is_list ? json_object_array_length(value) : 1;
			for (size_t j = 0; j < values; j++)
				buf_printf(
				    out, "%s: %s\n", name,
				    json_object_get_string(
					is_list ? json_object_array_get_idx(value, j) : value));
		}
	}
}

static int append_body(struct buf *out, struct json_object *answer, struct error *err)
{
	const char *bytes = "";
	size_t size = 0;
	const char *encoding;
	struct error ignored;
	if (json_get_string(answer, "body", &bytes, &size, err) != 0)
		return err->code;
	if (json_get_text(answer, "bodyEncoding", &encoding, &ignored) == 0 &&
	    strcmp(encoding, "base64") == 0)
		return base64_decode(out, bytes, size, err);
	buf_append(out, bytes, size);
	return buf_check(out, "answer", err);
}

/* What the agent says instead of an answer: {"message", "code"}, also inside "body". */
static void explain(struct send *send, struct json_object *answer)
{
	const char *text = NULL;
	const char *code = "";
	struct json_object *inner = NULL;
	struct error err;
	const char *status = status_of(send->record);
	if (json_get_text(answer, "body", &text, &err) == 0 &&
	    json_parse_object(text, strlen(text), &inner, &err) == 0)
		answer = inner;
	if (json_get_text(answer, "message", &text, &err) != 0 && text == NULL)
		text = "no answer came before the command's end";
	if (json_get_text(answer, "code", &code, &err) != 0)
		code = "";
	fprintf(stderr, "relay-agent: %s%s%s: %s\n", status, code[0] != '\0' ? " " : "", code,
		text);
	json_object_put(inner);
}

static int print_answer(struct send *send)
{
	const struct send_options *options = send->options;
	struct json_object *answer = json_member(send->record, "responseBody");
	struct buf out = BUF_INIT(2 * RECORD_MAX_BYTES);
	int64_t status = 0;
	int rc = 0;
	if (options->prints_record) {
		json_write(&out, send->record);
		buf_append_char(&out, '\n');
	} else if (json_get_int64(answer, "statusCode", 0, 999, &status, &send->err) != 0) {
		explain(send, answer);
	} else {
		if (options->includes_headers) {
			buf_printf(&out, "HTTP %d\n", (int)status);
			append_headers(&out, answer);
			buf_append_char(&out, '\n');
		}
		rc = append_body(&out, answer, &send->err);
		if (status >= 400)
			fprintf(stderr, "relay-agent: the target answered with HTTP status %d\n",
				(int)status);
	}
	if (rc == 0 && (out.size > 0 || options->output != NULL))
		rc = cmd_write(options->output, buf_str(&out), out.size, &send->err);
	buf_release(&out);
	return rc;
}

static void send_release(struct send *send)
{
	service_api_release(&send->api);
	loop_timer_free(send->ask_again);
	http_client_free(send->client);
	loop_free(send->loop);
	aead_free(send->key);
	json_object_put(send->record);
	free(send->id);
}

static int send_command(struct send *send)
{
	if (send->options->is_encrypted &&
	    (send->key = cmd_open_key(&send->settings->key, &send->err)) == NULL)
		return cmd_failed(&send->err);
	if (travel(send) != 0 || unseal(send) != 0 || print_answer(send) != 0)
		return cmd_failed(&send->err);
	return strcmp(status_of(send->record), "SUCCESS") == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int cmd_send(int argc, char **argv)
{
	struct settings settings = {0};
	struct send_options options = {0};
	if (cmd_wants_help(argc, argv, SEND_HELP, true))
		return 0;
	unsigned needs = NEED_SERVICE | (send_options_encrypt(argc, argv) ? NEED_KEY : 0u);
	int rc = cmd_load_settings(&settings, needs, &argc, argv);
	if (rc == 0)
		rc = send_options_parse(&options, argc, argv);
	if (rc == 0) {
		struct send send = {.settings = &settings, .options = &options};
		rc = send_command(&send);
		send_release(&send);
	}
	send_options_release(&options);
	settings_release(&settings);
	return rc;
}
