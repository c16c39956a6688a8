/* A command service that costs as little as one can: what an agent needs of docs/service.md's
 * API, over TLS, with commands that were made and encrypted beforehand. It keeps a window of
 * commands under way, gives them in batches, counts the calls, and measures the agent: its
 * processor time and wake-ups between two moments, and how long each command took from its
 * creation to its status. Usage: see the options below; what it says on standard output:
 *
 *   port {"port"}       connections are accepted
 *   poll {"us"}         the first receive came (CLOCK_MONOTONIC)
 *   warm                the first --warm commands have ended: measuring begins
 *   done {figures}      --count more have ended: no more commands are given
 *   drained             all that were given have ended
 *
 * On standard input: "watch PID" names the agent and lets the commands flow. */
#include "base/json.h"
#include "base/mem.h"
#include "tests/bench/hub.h"
#include "tests/bench/order.h"
#include "tests/bench/say.h"
#include "tests/bench/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	WAITING_MAX = 64,
	ANSWER_MAX = 64 * 1024 * 1024,
	LARGE_KINDS = 2,
};

static const size_t LARGE_NUMBER = (size_t)1 << 40; /* ids of the large ones begin here */

/* A receive that is held until there are commands. */
struct waiting {
	struct wire *wire;
	size_t max;
	int64_t until_us;
};

struct calls {
	size_t receives, empty_receives, posts, extends, uploads, others;
	size_t upload_bytes, post_bytes;
};

struct canned {
	/* Options */
	size_t batch, window, warm, count, whole;
	const char *large_post_url, *large_get_url;
	size_t large_bytes;
	struct order order, large[LARGE_KINDS];
	/* Commands */
	size_t given, ended, large_given, large_ended;
	size_t not_success, unknown;
	int64_t *born_us; /* by number */
	bool *has_ended;  /* by number */
	int64_t *took_us; /* of those that ended since the warm ones */
	size_t took_count;
	bool is_open, is_done, was_polled;
	/* The agent */
	int pid;
	int64_t began_us, began_cpu_us, began_wakeups;
	struct calls calls;
	struct waiting waiting[WAITING_MAX];
	size_t waiting_count;
	struct buf answer;
	struct hub hub;
};

static void begin_measuring(struct canned *canned)
{
	canned->calls = (struct calls){0};
	canned->took_count = 0;
	canned->large_ended = 0;
	canned->began_us = now_us();
	canned->began_cpu_us = cpu_us(canned->pid);
	canned->began_wakeups = wakeups(canned->pid);
	say("warm", NULL);
}

static struct json_object *calls_json(const struct canned *canned)
{
	const struct calls *calls = &canned->calls;
	struct json_object *out = json_new_object();
	json_set_int64(out, "receive", (int64_t)calls->receives);
	json_set_int64(out, "empty", (int64_t)calls->empty_receives);
	json_set_int64(out, "status", (int64_t)calls->posts);
	json_set_int64(out, "extend", (int64_t)calls->extends);
	json_set_int64(out, "upload", (int64_t)calls->uploads);
	json_set_int64(out, "other", (int64_t)calls->others);
	json_set_int64(out, "connections", (int64_t)canned->hub.connections);
	json_set_int64(out, "upload_bytes", (int64_t)calls->upload_bytes);
	json_set_int64(out, "status_bytes", (int64_t)calls->post_bytes);
	return out;
}

static void end_measuring(struct canned *canned)
{
	struct json_object *out = json_new_object();
	int64_t cpu = cpu_us(canned->pid) - canned->began_cpu_us;
	json_set_int64(out, "us", now_us() - canned->began_us);
	json_set_int64(out, "cpu_us", cpu);
	json_set_int64(out, "wakeups", wakeups(canned->pid) - canned->began_wakeups);
	json_set_int64(out, "commands", (int64_t)canned->count);
	json_set_int64(out, "large", (int64_t)canned->large_ended);
	json_set_int64(out, "not_success", (int64_t)canned->not_success);
	json_set_int64(out, "unknown", (int64_t)canned->unknown);
	json_set(out, "calls", calls_json(canned));
	json_set(out, "latency_us", percentiles(canned->took_us, canned->took_count));
	canned->is_done = true;
	say("done", out);
}

/* -- giving --------------------------------------------------------------------------- */

static size_t commands_ready(const struct canned *canned, size_t max)
{
	if (!canned->is_open || canned->is_done)
		return 0;
	size_t free_places = canned->window - (canned->given - canned->ended);
	size_t wanted = canned->batch < max ? canned->batch : max;
	if (canned->whole != 0 && free_places < wanted)
		return 0;
	return free_places < wanted ? free_places : wanted;
}

static bool large_is_ready(const struct canned *canned)
{
	return canned->large_bytes > 0 && canned->is_open && !canned->is_done &&
	       canned->large_given % 2 == canned->large_ended % 2 && canned->given >= canned->warm;
}

/* Sends what a receive may have; false when there is nothing. */
static bool give(struct canned *canned, struct wire *wire, size_t max)
{
	size_t ready = commands_ready(canned, max);
	bool has_large = large_is_ready(canned);
	if (ready == 0 && !has_large)
		return false;
	buf_reset(&canned->answer);
	buf_append_str(&canned->answer, "{\"commands\":[");
	if (has_large) {
		order_write(&canned->large[canned->large_given % LARGE_KINDS],
			    LARGE_NUMBER + canned->large_given, &canned->answer);
		canned->large_given++;
	}
	for (size_t i = 0; i < ready; i++) {
		if (i > 0 || has_large)
			buf_append_char(&canned->answer, ',');
		order_write(&canned->order, canned->given++, &canned->answer);
	}
	buf_append_str(&canned->answer, "]}");
	wire_put_message(wire, "HTTP/1.1 200 OK", canned->answer.data, canned->answer.size);
	return true;
}

static void give_nothing(struct canned *canned, struct wire *wire)
{
	static const char NOTHING[] = "{\"commands\":[]}";
	canned->calls.empty_receives++;
	wire_put_message(wire, "HTTP/1.1 200 OK", NOTHING, sizeof NOTHING - 1);
}

static void give_to_waiting(struct canned *canned)
{
	while (canned->waiting_count > 0) {
		struct waiting first = canned->waiting[0];
		if (!give(canned, first.wire, first.max))
			return;
		canned->waiting_count--;
		memmove(&canned->waiting[0], &canned->waiting[1],
			canned->waiting_count * sizeof first);
		hub_flush(&canned->hub, first.wire);
	}
}

static void forget_waiting(struct canned *canned, const struct wire *wire)
{
	size_t kept = 0;
	for (size_t i = 0; i < canned->waiting_count; i++) {
		if (canned->waiting[i].wire != wire)
			canned->waiting[kept++] = canned->waiting[i];
	}
	canned->waiting_count = kept;
}

static int64_t number_in(const struct wire *wire, const char *key, int64_t otherwise)
{
	const char *at = strstr(buf_str(&wire->body), key);
	return at != NULL ? strtoll(at + strlen(key), NULL, 10) : otherwise;
}

static void on_receive(struct canned *canned, struct wire *wire)
{
	size_t max = (size_t)number_in(wire, "\"max\":", 10);
	int64_t wait_s = number_in(wire, "\"waitSeconds\":", 0);
	canned->calls.receives++;
	if (!canned->was_polled) {
		struct json_object *when = json_new_object();
		json_set_int64(when, "us", now_us());
		say("poll", when);
		canned->was_polled = true;
	}
	if (give(canned, wire, max))
		return;
	if (wait_s == 0 || canned->waiting_count == WAITING_MAX) {
		give_nothing(canned, wire);
		return;
	}
	canned->waiting[canned->waiting_count++] =
	    (struct waiting){.wire = wire, .max = max, .until_us = now_us() + wait_s * 1000000};
}

/* -- taking --------------------------------------------------------------------------- */

static void on_end(struct canned *canned, size_t number)
{
	if (number >= LARGE_NUMBER) {
		canned->large_ended++;
		return;
	}
	if (number >= canned->given || canned->has_ended[number]) {
		canned->unknown++;
		return;
	}
	int64_t now = now_us();
	canned->has_ended[number] = true;
	if (number >= canned->warm)
		canned->took_us[canned->took_count++] = now - canned->born_us[number];
	/* Its place is free: the next one for that place is born. */
	canned->born_us[canned->window + canned->ended] = now;
	canned->ended++;
	if (canned->ended == canned->warm)
		begin_measuring(canned);
	if (canned->ended == canned->warm + canned->count)
		end_measuring(canned);
	if (canned->is_done && canned->ended == canned->given)
		say("drained", NULL);
}

static size_t count_of(const struct buf *text, const char *words)
{
	size_t count = 0;
	size_t length = strlen(words);
	const char *end = text->data + text->size;
	for (const char *at = text->data;
	     (at = memmem(at, (size_t)(end - at), words, length)) != NULL; at += length)
		count++;
	return count;
}

static void on_status(struct canned *canned, struct wire *wire)
{
	static const char KEY[] = "\"commandId\":\"";
	size_t updates = 0;
	const char *at = buf_str(&wire->body);
	const char *end = at + wire->body.size;
	canned->calls.posts++;
	canned->calls.post_bytes += wire->body.size;
	canned->not_success +=
	    count_of(&wire->body, KEY) - count_of(&wire->body, "\"status\":\"SUCCESS\"");
	buf_reset(&canned->answer);
	buf_append_str(&canned->answer, "{\"results\":[");
	while ((at = memmem(at, (size_t)(end - at), KEY, sizeof KEY - 1)) != NULL) {
		at += sizeof KEY - 1;
		buf_append_str(&canned->answer,
			       updates++ > 0 ? ",{\"commandId\":\"" : "{\"commandId\":\"");
		buf_append(&canned->answer, at, ORDER_ID_SIZE);
		buf_append_str(&canned->answer, "\",\"result\":\"accepted\"}");
		on_end(canned, order_number(at));
	}
	buf_append_str(&canned->answer, "]}");
	wire_put_message(wire, "HTTP/1.1 200 OK", canned->answer.data, canned->answer.size);
}

static void on_message(void *context, struct wire *wire)
{
	struct canned *canned = context;
	static const char RECEIVE[] = "POST /v1/agents/bench-agent/commands/receive ";
	static const char STATUS[] = "POST /v1/agents/bench-agent/commands/status ";
	static const char EXTEND[] = "POST /v1/agents/bench-agent/commands/extend ";
	static const char NO_RESULTS[] = "{\"results\":[]}";
	if (wire_begins(wire, STATUS)) {
		on_status(canned, wire);
	} else if (wire_begins(wire, RECEIVE)) {
		on_receive(canned, wire);
	} else if (wire_begins(wire, EXTEND)) {
		canned->calls.extends++;
		wire_put_message(wire, "HTTP/1.1 200 OK", NO_RESULTS, sizeof NO_RESULTS - 1);
	} else if (wire_begins(wire, "PUT /v1/uploads/")) {
		canned->calls.uploads++;
		canned->calls.upload_bytes += wire->body_bytes;
		wire_put_message(wire, "HTTP/1.1 200 OK", "{}", 2);
	} else {
		canned->calls.others++;
		wire_put_message(wire, "HTTP/1.1 200 OK", "{}", 2);
	}
}

/* -- the driver and the clock --------------------------------------------------------- */

static void on_drop(void *context, struct wire *wire)
{
	forget_waiting(context, wire);
}

static void on_word(void *context, const char *line)
{
	struct canned *canned = context;
	if (strncmp(line, "watch ", 6) != 0)
		die("the only word is watch PID");
	canned->pid = (int)strtol(line + 6, NULL, 10);
	canned->is_open = true;
	int64_t now = now_us();
	for (size_t i = 0; i < canned->window; i++)
		canned->born_us[i] = now;
	if (canned->warm == 0)
		begin_measuring(canned);
}

/* Ends receives that have waited their time; tells when the next one has. */
static int on_turn(void *context)
{
	struct canned *canned = context;
	give_to_waiting(canned);
	int64_t now = now_us();
	while (canned->waiting_count > 0 && canned->waiting[0].until_us <= now) {
		struct wire *wire = canned->waiting[0].wire;
		forget_waiting(canned, wire);
		give_nothing(canned, wire);
		hub_flush(&canned->hub, wire);
	}
	if (canned->waiting_count == 0)
		return -1;
	return (int)((canned->waiting[0].until_us - now) / 1000) + 1;
}

static void make_orders(struct canned *canned)
{
	char base_url[64];
	snprintf(base_url, sizeof base_url, "https://127.0.0.1:%d", canned->hub.port);
	canned->order.base_url = base_url;
	order_make(&canned->order);
	for (size_t i = 0; canned->large_bytes > 0 && i < LARGE_KINDS; i++) {
		canned->large[i].key = canned->order.key;
		canned->large[i].base_url = base_url;
		canned->large[i].url = i == 0 ? canned->large_post_url : canned->large_get_url;
		canned->large[i].body_bytes = i == 0 ? canned->large_bytes : 0;
		order_make(&canned->large[i]);
	}
}

int main(int argc, char **argv)
{
	const char *certificate = NULL;
	const char *key = NULL;
	struct canned canned = {
	    .batch = 10, .window = 64, .whole = 1, .answer = BUF_INIT(ANSWER_MAX)};
	const struct option_row options[] = {
	    {"tls-cert", &certificate, NULL, true},
	    {"tls-key", &key, NULL, true},
	    {"url", &canned.order.url, NULL, true}, /* of the target */
	    {"key", &canned.order.key, NULL, false},
	    {"body-bytes", NULL, &canned.order.body_bytes, false},
	    {"batch", NULL, &canned.batch, false},
	    {"whole", NULL, &canned.whole, false}, /* 0: gives less than a batch, too */
	    {"window", NULL, &canned.window, false},
	    {"warm", NULL, &canned.warm, false},
	    {"count", NULL, &canned.count, false},
	    {"large-bytes", NULL, &canned.large_bytes, false},
	    {"large-post-url", &canned.large_post_url, NULL, false},
	    {"large-get-url", &canned.large_get_url, NULL, false},
	};
	options_read(argc, argv, options, sizeof options / sizeof options[0]);
	size_t numbers = canned.warm + canned.count + 2 * canned.window;
	canned.born_us = mem_calloc(numbers, sizeof canned.born_us[0]);
	canned.took_us = mem_calloc(numbers, sizeof canned.took_us[0]);
	canned.has_ended = mem_calloc(numbers, sizeof canned.has_ended[0]);
	canned.hub = (struct hub){.on_message = on_message,
				  .on_drop = on_drop,
				  .on_word = on_word,
				  .on_turn = on_turn,
				  .context = &canned};
	hub_open(&canned.hub, certificate, key);
	make_orders(&canned);
	struct json_object *where = json_new_object();
	json_set_int64(where, "port", canned.hub.port);
	say("port", where);
	hub_run(&canned.hub);
}
