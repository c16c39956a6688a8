/* The least that a relayed command can cost with our libraries: the same requests, JSON and
 * cryptography as the agent's, and nothing else. No journal, no policy, no log, no checks, no
 * errors (any ends the process). Receives from a command service over TLS, opens each V2
 * command, makes its request, seals the answer and posts a batch of statuses as soon as it is
 * full or nothing is under way. Handles and connections are kept.
 *
 * With --keep it stores each command before its request and each answer before its status, in the
 * least way there is (keep.h): what it costs then no journal can undercut. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "tests/bench/keep.h"
#include "tests/bench/multi.h"
#include "tests/bench/say.h"
#include "tests/bench/seal.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

enum {
	BODY_MAX = 64 * 1024 * 1024,
	ID_SIZE = 64,
	URL_SIZE = 256,
	GOOD_PART = 4, /* of what is under way: one of so many is worth a piece, as to the agent */
};

/* The agent's requests have these too. */
static const char USER_AGENT[] = "User-Agent: relay-agent/" VERSION;
static const char ENCODINGS[] = "Accept-Encoding: gzip, deflate, br, zstd";

static const int JSON_FLAGS = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;

struct floor;

/* A handle with what it needs, used again and again for the same kind of request. */
struct job {
	struct floor *floor;
	CURL *easy;
	void (*on_done)(struct job *job);
	struct job *next; /* in its list of free ones */
	struct job **free_list;
	struct buf request, answer;
	struct buf update; /* a command's status */
	void (*on_kept)(struct job *job);
	struct job *next_kept;
	struct curl_slist *headers; /* of a target's request */
	struct json_object *payload;
	bool is_sealed; /* a V2 command */
	char command_id[ID_SIZE];
	char receipt[ID_SIZE];
};

struct floor {
	struct multi multi;
	struct seal *seal;
	struct json_tokener *tokener;
	const char *service_url, *ca_file, *key_text, *token;
	size_t batch;
	char receive_url[URL_SIZE], status_url[URL_SIZE];
	struct curl_slist *service_headers;
	struct job *free_targets, *free_calls;
	size_t running;     /* commands whose status is not among the updates yet */
	struct buf updates; /* what the next post holds */
	size_t update_count;
	struct buf plain;
	const char *keep_kind, *keep_folder;
	struct keep *keep;                 /* NULL: nothing is kept */
	struct buf piece;                  /* what is written next … */
	struct job *in_piece, *in_writing; /* … and whose it is; and whose is being written */
	size_t piece_count;
};

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
	struct job *job = context;
	return buf_append(&job->answer, bytes, size * count) == 0 ? size * count : 0;
}

static struct job *job_new(struct floor *floor, struct job **free_list)
{
	struct job *job = mem_new(struct job);
	job->floor = floor;
	job->free_list = free_list;
	job->request = BUF_INIT(BODY_MAX);
	job->answer = BUF_INIT(BODY_MAX);
	job->update = BUF_INIT(BODY_MAX);
	job->easy = curl_easy_init();
	if (job->easy == NULL)
		die("cannot start libcurl");
	multi_check(curl_easy_setopt(job->easy, CURLOPT_PRIVATE, job));
	multi_check(curl_easy_setopt(job->easy, CURLOPT_NOSIGNAL, 1L));
	multi_check(curl_easy_setopt(job->easy, CURLOPT_PROXY, ""));
	multi_check(curl_easy_setopt(job->easy, CURLOPT_WRITEFUNCTION, on_body));
	multi_check(curl_easy_setopt(job->easy, CURLOPT_WRITEDATA, job));
	return job;
}

static struct job *job_take(struct floor *floor, struct job **free_list)
{
	struct job *job = *free_list;
	if (job == NULL)
		return job_new(floor, free_list);
	*free_list = job->next;
	buf_reset(&job->request);
	buf_reset(&job->answer);
	buf_reset(&job->update);
	return job;
}

static void job_give_back(struct job *job)
{
	job->next = *job->free_list;
	*job->free_list = job;
}

static void on_done(void *context, CURL *easy, CURLcode code)
{
	(void)context;
	struct job *job = NULL;
	multi_check(code);
	multi_check(curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&job));
	job->on_done(job);
}

static struct json_object *parse(struct floor *floor, const struct buf *text)
{
	json_tokener_reset(floor->tokener);
	struct json_object *value =
	    json_tokener_parse_ex(floor->tokener, text->data, (int)text->size);
	if (value == NULL)
		die("this is no JSON: %.100s", buf_str(text));
	return value;
}

static const char *text_of(struct json_object *object, const char *key)
{
	return json_object_get_string(json_object_object_get(object, key));
}

/* -- what is kept ----------------------------------------------------------------------- */

static void write_piece(struct floor *floor)
{
	if (keep_is_writing(floor->keep) || floor->in_piece == NULL)
		return;
	floor->in_writing = floor->in_piece;
	floor->in_piece = NULL;
	floor->piece_count = 0;
	keep_write(floor->keep, &floor->piece);
}

/* on_kept is called when the text is on disk. */
static void keep_bytes(struct job *job, const char *text, void (*on_kept)(struct job *job))
{
	struct floor *floor = job->floor;
	job->on_kept = on_kept;
	job->next_kept = floor->in_piece;
	floor->in_piece = job;
	buf_append_str(&floor->piece, text);
	if (floor->running == 1 && !keep_is_writing(floor->keep)) { /* as the agent does */
		keep_write_here(floor->keep, &floor->piece);
		floor->in_piece = NULL;
		on_kept(job);
		return;
	}
	if (++floor->piece_count >= floor->running / GOOD_PART)
		write_piece(floor);
}

static void on_written(void *context)
{
	struct floor *floor = context;
	keep_end(floor->keep);
	struct job *job = floor->in_writing;
	floor->in_writing = NULL;
	while (job != NULL) {
		struct job *next = job->next_kept; /* the job may be used again by then */
		job->on_kept(job);
		job = next;
	}
	if (floor->piece_count > 0 && floor->piece_count >= floor->running / GOOD_PART)
		write_piece(floor);
}

static void on_idle(void *context)
{
	write_piece(context);
}

/* -- the service ---------------------------------------------------------------------- */

static struct job *call(struct floor *floor, const char *url, void (*on_end)(struct job *job))
{
	bool is_new = floor->free_calls == NULL;
	struct job *job = job_take(floor, &floor->free_calls);
	job->on_done = on_end;
	multi_check(curl_easy_setopt(job->easy, CURLOPT_URL, url));
	if (!is_new)
		return job;
	multi_check(curl_easy_setopt(job->easy, CURLOPT_CAINFO, floor->ca_file));
	multi_check(curl_easy_setopt(job->easy, CURLOPT_CAPATH, NULL));
	multi_check(curl_easy_setopt(job->easy, CURLOPT_HTTPHEADER, floor->service_headers));
	return job;
}

static void send_call(struct job *job)
{
	if (job->request.failed != 0)
		die("a batch of answers is too large");
	multi_check(curl_easy_setopt(job->easy, CURLOPT_POSTFIELDSIZE, (long)job->request.size));
	multi_check(curl_easy_setopt(job->easy, CURLOPT_POSTFIELDS, job->request.data));
	multi_add(&job->floor->multi, job->easy);
}

static void on_posted(struct job *job)
{
	struct json_object *answer = parse(job->floor, &job->answer);
	json_object_put(answer);
	job_give_back(job);
}

static void post(struct floor *floor)
{
	struct job *job = call(floor, floor->status_url, on_posted);
	buf_append_str(&job->request, "{\"updates\":[");
	buf_append(&job->request, floor->updates.data, floor->updates.size);
	buf_append_str(&job->request, "]}");
	buf_reset(&floor->updates);
	floor->update_count = 0;
	send_call(job);
}

/* -- the target ----------------------------------------------------------------------- */

static struct json_object *headers_of(CURL *easy)
{
	struct json_object *headers = json_object_new_array();
	for (struct curl_header *header = NULL;
	     (header = curl_easy_nextheader(easy, CURLH_HEADER, -1, header)) != NULL;) {
		struct json_object *one = json_object_new_object();
		char name[128];
		snprintf(name, sizeof name, "%s", header->name);
		str_lower(name);
		json_object_object_add(one, name, json_object_new_string(header->value));
		json_object_array_add(headers, one);
	}
	return headers;
}

static void write_update(struct job *job, const char *answer, size_t size)
{
	struct buf *update = &job->update;
	char now[CLOCK_TEXT_SIZE];
	clock_format(clock_now_ms(), now);
	buf_printf(update,
		   "{\"commandId\":\"%s\",\"receipt\":\"%s\",\"status\":\"SUCCESS\",\"body\":",
		   job->command_id, job->receipt);
	if (job->is_sealed)
		seal_close(job->floor->seal, answer, size, update);
	else
		buf_append(update, answer, size);
	buf_printf(update, ",\"createdAt\":\"%s\"}", now);
}

static void add_update(struct job *job)
{
	struct floor *floor = job->floor;
	if (floor->update_count++ > 0)
		buf_append_char(&floor->updates, ',');
	buf_append(&floor->updates, job->update.data, job->update.size);
	job_give_back(job);
	floor->running--;
	if (floor->update_count >= floor->batch || floor->running == 0)
		post(floor);
}

static void on_answered(struct job *job)
{
	struct json_object *answer = json_object_new_object();
	size_t size;
	long status;
	multi_check(curl_easy_getinfo(job->easy, CURLINFO_RESPONSE_CODE, &status));
	json_object_object_add(answer, "body",
			       json_object_new_string_len(job->answer.data, (int)job->answer.size));
	json_object_object_add(answer, "statusCode", json_object_new_int((int)status));
	json_object_object_add(answer, "headers", headers_of(job->easy));
	const char *text = json_object_to_json_string_length(answer, JSON_FLAGS, &size);
	write_update(job, text, size);
	json_object_put(answer);
	json_object_put(job->payload);
	curl_slist_free_all(job->headers);
	job->headers = NULL;
	if (job->floor->keep == NULL)
		add_update(job);
	else
		keep_bytes(job, buf_str(&job->update), add_update);
}

static void set_headers(struct job *job)
{
	struct json_object *headers = json_object_object_get(job->payload, "headers");
	job->headers = curl_slist_append(NULL, USER_AGENT);
	json_object_object_foreach(headers, name, value)
	{
		char line[URL_SIZE];
		snprintf(line, sizeof line, "%s: %s", name, json_object_get_string(value));
		job->headers = curl_slist_append(job->headers, line);
	}
	job->headers = curl_slist_append(job->headers, ENCODINGS);
	multi_check(curl_easy_setopt(job->easy, CURLOPT_HTTPHEADER, job->headers));
}

static void set_request(struct job *job)
{
	struct json_object *body = json_object_object_get(job->payload, "body");
	struct json_object *raw = json_object_object_get(body, "raw");
	multi_check(curl_easy_setopt(job->easy, CURLOPT_URL, text_of(job->payload, "url")));
	set_headers(job);
	if (raw == NULL) {
		multi_check(curl_easy_setopt(job->easy, CURLOPT_HTTPGET, 1L));
		return;
	}
	multi_check(curl_easy_setopt(job->easy, CURLOPT_POSTFIELDSIZE,
				     (long)json_object_get_string_len(raw)));
	multi_check(curl_easy_setopt(job->easy, CURLOPT_POSTFIELDS, json_object_get_string(raw)));
}

static void send_request(struct job *job)
{
	multi_add(&job->floor->multi, job->easy);
}

/* Of an encrypted command the ciphertext, which is nearly all of it: no text is made for this. */
static void keep_command(struct job *job, struct json_object *command)
{
	struct json_object *body = json_object_object_get(command, "body");
	struct json_object *kept =
	    job->is_sealed ? json_object_object_get(body, "ciphertext") : body;
	if (job->floor->keep == NULL)
		send_request(job);
	else
		keep_bytes(job, json_object_get_string(kept), send_request);
}

static void execute(struct floor *floor, struct json_object *command)
{
	struct job *job = job_take(floor, &floor->free_targets);
	struct json_object *body = json_object_object_get(command, "body");
	job->on_done = on_answered;
	snprintf(job->command_id, sizeof job->command_id, "%s", text_of(command, "commandId"));
	snprintf(job->receipt, sizeof job->receipt, "%s", text_of(command, "receipt"));
	job->is_sealed = json_object_object_get(body, "ciphertext") != NULL;
	if (job->is_sealed) {
		buf_reset(&floor->plain);
		seal_open(floor->seal, body, &floor->plain);
		job->payload = parse(floor, &floor->plain);
	} else {
		job->payload = json_object_get(body);
	}
	set_request(job);
	floor->running++;
	keep_command(job, command);
}

static void receive(struct floor *floor);

static void on_received(struct job *job)
{
	struct floor *floor = job->floor;
	struct json_object *answer = parse(floor, &job->answer);
	struct json_object *commands = json_object_object_get(answer, "commands");
	job_give_back(job);
	for (size_t i = 0; i < json_object_array_length(commands); i++)
		execute(floor, json_object_array_get_idx(commands, i));
	json_object_put(answer);
	receive(floor);
}

static void receive(struct floor *floor)
{
	struct job *job = call(floor, floor->receive_url, on_received);
	buf_printf(&job->request, "{\"max\":%zu,\"waitSeconds\":20,\"leaseSeconds\":30}",
		   floor->batch);
	send_call(job);
}

static void set_up(struct floor *floor)
{
	static const char API[] = "/v1/agents/bench-agent/commands";
	floor->multi.on_done = on_done;
	multi_init(&floor->multi);
	floor->tokener = json_tokener_new();
	floor->seal = seal_new(floor->key_text);
	floor->updates = BUF_INIT(BODY_MAX);
	floor->plain = BUF_INIT(BODY_MAX);
	snprintf(floor->receive_url, URL_SIZE, "%s%s/receive", floor->service_url, API);
	snprintf(floor->status_url, URL_SIZE, "%s%s/status", floor->service_url, API);
	char token[URL_SIZE];
	snprintf(token, sizeof token, "ts-auth-token: %s", floor->token);
	const char *const headers[] = {
	    USER_AGENT,
	    token,
	    "x-org-slug: bench",
	    "Content-Type: application/json",
	    "Accept: application/json",
	    "ts-request-id: 00000000-0000-4000-8000-000000000000",
	    ENCODINGS,
	    "Expect:",
	};
	for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
		floor->service_headers = curl_slist_append(floor->service_headers, headers[i]);
}

static void set_up_keep(struct floor *floor)
{
	if (floor->keep_folder == NULL)
		die("--keep needs a --folder");
	floor->piece = BUF_INIT(BODY_MAX);
	floor->keep = keep_new(floor->keep_kind, floor->keep_folder);
	floor->multi.context = floor;
	floor->multi.on_wake = on_written;
	floor->multi.on_idle = on_idle;
	multi_watch(&floor->multi, keep_descriptor(floor->keep));
}

int main(int argc, char **argv)
{
	struct floor floor = {.batch = 10, .token = "bench-token"};
	const struct option_row options[] = {
	    {"service", &floor.service_url, NULL, true},
	    {"ca-file", &floor.ca_file, NULL, true},
	    {"key", &floor.key_text, NULL, true}, /* of V2 */
	    {"token", &floor.token, NULL, false},
	    {"batch", NULL, &floor.batch, false},
	    {"keep", &floor.keep_kind, NULL, false},
	    {"folder", &floor.keep_folder, NULL, false},
	};
	options_read(argc, argv, options, sizeof options / sizeof options[0]);
	set_up(&floor);
	if (floor.keep_kind != NULL)
		set_up_keep(&floor);
	receive(&floor);
	multi_run(&floor.multi); /* until it is killed */
}
