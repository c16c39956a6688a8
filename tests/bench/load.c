/* Requestors: so many connections to a command service, each storing one command after the
 * other. Says "done {figures, last}", last being the id of a command that was stored at the
 * end. The payloads are those of order.h. */
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "tests/bench/order.h"
#include "tests/bench/say.h"
#include "tests/bench/wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, BODY_MAX = 64 * 1024 * 1024, LINE_SIZE = 1024 };

struct load {
	size_t port, count, connections, targets, uses_tls;
	const char *token;
	struct order order;
	char line[LINE_SIZE];
	struct buf payload, body;
	size_t sent, answered;
	int64_t *sent_us; /* by connection */
	int64_t *took_us;
	char last_id[ORDER_ID_SIZE + 1];
};

/* One of the clients. */
struct requestor {
	struct wire *wire;
	size_t number;
};

/* Targets, actions and pipelines differ, so that a search has something to find. */
static void write_command(struct load *load)
{
	char expires_at[CLOCK_TEXT_SIZE];
	char name[32];
	struct json_object *command = json_new_object();
	struct json_object *metadata = json_new_object();
	if (load->targets > 1)
		snprintf(name, sizeof name, "bench-agent-%zu", load->sent % load->targets);
	else
		snprintf(name, sizeof name, "bench-agent");
	json_set_text(command, "targetId", name);
	json_set_text(command, "action",
		      load->order.key != NULL ? "TetraScience.Connector.http.Request.V2"
					      : "TetraScience.Connector.http.Request");
	clock_format(clock_now_ms() + 24 * 3600 * 1000, expires_at);
	json_set_text(command, "expiresAt", expires_at);
	json_set(command, "payload", json_new_raw(load->payload.data, load->payload.size));
	snprintf(name, sizeof name, "%zu", load->sent % 100);
	json_set_text(metadata, "pipeline", name);
	json_set(command, "metadata", metadata);
	buf_reset(&load->body);
	json_write(&load->body, command);
	json_object_put(command);
}

static void send_next(struct load *load, struct requestor *requestor)
{
	if (load->sent == load->count)
		return;
	write_command(load);
	load->sent++;
	load->sent_us[requestor->number] = now_us();
	wire_put_message(requestor->wire, load->line, load->body.data, load->body.size);
}

static void on_answer(struct load *load, struct requestor *requestor)
{
	static const char ID_KEY[] = "\"id\":\"";
	struct wire *wire = requestor->wire;
	if (wire_status(wire) != 200)
		die("the service answered %d: %.300s", wire_status(wire), buf_str(&wire->body));
	load->took_us[load->answered++] = now_us() - load->sent_us[requestor->number];
	const char *id = strstr(buf_str(&wire->body), ID_KEY);
	if (id == NULL)
		die("a record without an id");
	snprintf(load->last_id, sizeof load->last_id, "%.*s", ORDER_ID_SIZE,
		 id + sizeof ID_KEY - 1);
}

static void on_ready(struct load *load, struct requestor *requestor)
{
	struct wire *wire = requestor->wire;
	if (wire_turn(wire) != 0)
		die("the service closed a connection");
	while (wire_has_message(wire)) {
		on_answer(load, requestor);
		wire_next(wire);
		send_next(load, requestor);
	}
	if (wire_flush(wire) != 0)
		die("the service closed a connection");
}

static void run(struct load *load, int epoll, struct requestor *requestors)
{
	struct epoll_event events[CONNECTIONS_MAX];
	for (size_t i = 0; i < load->connections; i++) {
		send_next(load, &requestors[i]);
		if (wire_flush(requestors[i].wire) != 0)
			die("the service closed a connection");
	}
	while (load->answered < load->count) {
		int count = epoll_wait(epoll, events, CONNECTIONS_MAX, -1);
		for (int i = 0; i < count; i++) {
			const struct wire *wire = events[i].data.ptr;
			on_ready(load, wire->context);
		}
	}
}

static void finish(struct load *load, int64_t began_us)
{
	struct json_object *out = json_new_object();
	json_set_int64(out, "us", now_us() - began_us);
	json_set_int64(out, "cpu_us", cpu_us(0));
	json_set_int64(out, "commands", (int64_t)load->count);
	json_set_int64(out, "payload_bytes", (int64_t)load->payload.size);
	json_set(out, "latency_us", percentiles(load->took_us, load->answered));
	json_set_text(out, "last", load->last_id);
	say("done", out);
}

int main(int argc, char **argv)
{
	struct load load = {.connections = 16,
			    .targets = 1,
			    .payload = BUF_INIT(BODY_MAX),
			    .body = BUF_INIT(BODY_MAX)};
	const struct option_row options[] = {
	    {"port", NULL, &load.port, true},
	    {"token", &load.token, NULL, true}, /* of a requestor of the organisation bench */
	    {"url", &load.order.url, NULL, true},
	    {"key", &load.order.key, NULL, false},
	    {"body-bytes", NULL, &load.order.body_bytes, false},
	    {"count", NULL, &load.count, false},
	    {"connections", NULL, &load.connections, false},
	    {"targets", NULL, &load.targets, false},
	    {"tls", NULL, &load.uses_tls, false},
	};
	options_read(argc, argv, options, sizeof options / sizeof options[0]);
	if (load.connections == 0 || load.connections > CONNECTIONS_MAX || load.targets == 0)
		die("--connections and --targets must be at least 1, connections at most %d",
		    CONNECTIONS_MAX);
	snprintf(load.line, sizeof load.line,
		 "POST /v1/commands HTTP/1.1\r\nHost: 127.0.0.1:%zu\r\nx-org-slug: bench\r\n"
		 "ts-auth-token: %s",
		 load.port, load.token);
	order_payload(&load.order, &load.payload);
	load.took_us = mem_calloc(load.count + 1, sizeof load.took_us[0]);
	load.sent_us = mem_calloc(load.connections, sizeof load.sent_us[0]);
	SSL_CTX *tls = load.uses_tls != 0 ? wire_tls_client() : NULL;
	struct requestor *requestors = mem_calloc(load.connections, sizeof requestors[0]);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	for (size_t i = 0; i < load.connections; i++) {
		requestors[i].number = i;
		requestors[i].wire = wire_new(epoll, wire_connect((int)load.port), tls, false);
		requestors[i].wire->context = &requestors[i];
	}
	int64_t began_us = now_us();
	run(&load, epoll, requestors);
	finish(&load, began_us);
	for (size_t i = 0; i < load.connections; i++)
		wire_free(requestors[i].wire);
	free(requestors);
	free(load.took_us);
	free(load.sent_us);
	SSL_CTX_free(tls);
	buf_release(&load.payload);
	buf_release(&load.body);
	close(epoll);
	return 0;
}
