#include "service/exchange.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "service/routes.h"
#include "service/service.h"

#include <stdlib.h>
#include <string.h>

enum {
	DISCARD_MAX = 16 * 1024 * 1024, /* of a refused body, so that the client reads why */
	BODIES_MAX = 256 * 1024 * 1024, /* bodies in memory at a time, all together */
	SLOW_AFTER_MS = 20 * 1000,      /* from then on a body must come with at least … */
	SLOW_BYTES_PER_SECOND = 1024,   /* … so much on average */
};

/* ---- Requests */

void request_set_phase(struct request *request, enum request_phase phase)
{
	request->phase = phase;
}

static struct peer *peer_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info ? info->socket_context : NULL;
}

/* The request's line has come. uri is as the client wrote it. */
void *exchange_on_uri(void *context, const char *uri, struct MHD_Connection *connection)
{
	struct server *server = context;
	struct request *request = mem_new(struct request);
	request->service = server->service;
	request->connection = connection;
	request->target = mem_strndup(uri, strcspn(uri, "?#"));
	request->begun_ms = clock_monotonic_ms();
	TAILQ_INSERT_TAIL(&server->requests, request, link);
	return request;
}

static void release_body(struct request *request)
{
	request->service->server.body_bytes -= request->body.size;
	buf_release(&request->body);
}

static void log_request(const struct request *request, unsigned status, bool was_sent)
{
	if (!log_enabled(LOG_LEVEL_DEBUG))
		return;
	struct log_field fields[] = {
	    LOG_TEXT("method", request->method),
	    LOG_TEXT("call", request->route ? request->route->pattern : "unknown"),
	    LOG_NUMBER("status", status),
	    LOG_NUMBER("ms", clock_monotonic_ms() - request->begun_ms),
	    LOG_NUMBER("bytes_in", (int64_t)request->body_bytes),
	    LOG_TEXT("sent", was_sent ? "whole" : "broken off"),
	};
	log_event(LOG_LEVEL_DEBUG, "request", fields, sizeof fields / sizeof *fields);
}

static void request_free(struct request *request, bool was_sent)
{
	struct server *server = &request->service->server;
	if (request->state)
		request->state->end(request->state, was_sent);
	if (request->phase == REQUEST_HELD)
		TAILQ_REMOVE(&server->held, request, held_link);
	TAILQ_REMOVE(&server->requests, request, link);
	alarm_cancel(&request->alarm);
	request_unanswer(request);
	release_body(request);
	for (size_t i = 0; i < request->segment_count; i++)
		free(request->segments[i]);
	free(request->target);
	free(request);
}

void exchange_on_completed(void *context, struct MHD_Connection *connection, void **con_cls,
			   enum MHD_RequestTerminationCode code)
{
	struct request *request = *con_cls;
	(void)context;
	if (!request)
		return;
	bool was_sent =
	    code == MHD_REQUEST_TERMINATED_COMPLETED_OK && request->phase == REQUEST_ANSWERING;
	log_request(request, request->status, was_sent);
	request_free(request, was_sent);
	*con_cls = NULL;
	peer_set_phase(peer_of(connection), PEER_IDLE);
}

void exchange_on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
			    enum MHD_ConnectionNotificationCode code)
{
	struct server *server = context;
	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		peer_free(*socket_context);
		*socket_context = NULL;
		return;
	}
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (info)
		*socket_context = peer_new(&server->peers, info->connect_fd);
}

void request_wait(struct request *request)
{
	request_set_phase(request, REQUEST_WAITING);
	MHD_suspend_connection(request->connection);
}

void request_wake(struct request *request)
{
	if (request->phase != REQUEST_WAITING)
		return;
	alarm_cancel(&request->alarm);
	request_set_phase(request, REQUEST_READY);
	MHD_resume_connection(request->connection);
}

void request_hold(struct request *request)
{
	struct server *server = &request->service->server;
	alarm_cancel(&request->alarm);
	if (request->phase != REQUEST_WAITING)
		MHD_suspend_connection(request->connection);
	request_set_phase(request, REQUEST_HELD);
	TAILQ_INSERT_TAIL(&server->held, request, held_link);
}

/* ---- Reading a request */

static int hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	digit = (char)(digit | 0x20);
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Resolves %XX in place; -1 for a broken or a NUL one. */
static int decode_segment(char *segment)
{
	char *to = segment;
	for (const char *from = segment; *from; from++) {
		if (*from != '%') {
			*to++ = *from;
			continue;
		}
		int high = hex_digit(from[1]);
		int low = high < 0 ? -1 : hex_digit(from[2]);
		if (low < 0 || (high == 0 && low == 0))
			return -1;
		*to++ = (char)(high * 16 + low);
		from += 2;
	}
	*to = '\0';
	return 0;
}

/* Takes the path apart; one with too many segments or broken escapes is none of ours. */
static void split_path(struct request *request)
{
	const char *at = request->target;
	while (*at == '/' && request->segment_count < REQUEST_SEGMENTS_MAX) {
		size_t length = strcspn(at + 1, "/");
		char *segment = mem_strndup(at + 1, length);
		request->segments[request->segment_count++] = segment;
		if (decode_segment(segment) < 0)
			break;
		at += 1 + length;
	}
	while (*at != '\0' && request->segment_count > 0)
		free(request->segments[--request->segment_count]);
}

/* The length that was announced; UINT64_MAX when the body comes in chunks. */
static uint64_t announced_bytes(const struct request *request)
{
	const char *length = request_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
	if (request_header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING))
		return UINT64_MAX;
	return length ? strtoull(length, NULL, 10) : 0; /* libmicrohttpd has checked it */
}

static void refuse_size(struct request *request)
{
	const struct route *route = request->route;
	if (route->max_body == 0)
		request_fail(request, MHD_HTTP_CONTENT_TOO_LARGE, "this call takes no body");
	else
		request_fail(
		    request, MHD_HTTP_CONTENT_TOO_LARGE, "%s must not be larger than %zu bytes",
		    route->body_name ? route->body_name : "the body of this call", route->max_body);
}

/* Everything that can be said before the body comes. */
static void begin(struct request *request, const char *method)
{
	memccpy(request->method, method, '\0', sizeof request->method - 1);
	split_path(request);
	route_find(request);
	if (!request->response && request->route->role != ROLE_NONE)
		auth_check(request);
	if (request->response)
		return;
	uint64_t bytes = announced_bytes(request);
	if (request->route->begin)
		request->route->begin(request);
	else if (bytes != UINT64_MAX && bytes > request->route->max_body)
		refuse_size(request);
	request->body = BUF_INIT(request->route->max_body);
}

/* A refused body is thrown away, because a client that is still sending would not see the
 * answer when its connection is closed; but not one that is large or was not begun yet. */
static bool is_answered_early(const struct request *request)
{
	return request->response && announced_bytes(request) > 0 &&
	       (request_header(request, MHD_HTTP_HEADER_EXPECT) ||
		(announced_bytes(request) > DISCARD_MAX && announced_bytes(request) != UINT64_MAX));
}

static bool is_too_slow(const struct request *request)
{
	int64_t elapsed_ms = clock_monotonic_ms() - request->begun_ms;
	return elapsed_ms > SLOW_AFTER_MS &&
	       request->body_bytes < (uint64_t)elapsed_ms / 1000 * SLOW_BYTES_PER_SECOND;
}

static void keep_bytes(struct request *request, const char *bytes, size_t size)
{
	struct server *server = &request->service->server;
	if (size > request->body.max - request->body.size) {
		release_body(request);
		refuse_size(request);
	} else if (server->body_bytes + size > BODIES_MAX ||
		   buf_append(&request->body, bytes, size) < 0) {
		release_body(request);
		request_fail(request, MHD_HTTP_SERVICE_UNAVAILABLE,
			     "too many large bodies are coming in now: try again later");
	} else {
		server->body_bytes += size;
	}
}

static enum MHD_Result receive(struct request *request, const char *bytes, size_t size)
{
	request->body_bytes += size;
	if (is_too_slow(request) || (request->response && request->body_bytes > DISCARD_MAX &&
				     announced_bytes(request) == UINT64_MAX))
		return MHD_NO;
	if (request->response)
		return MHD_YES;
	if (request->route->receive)
		request->route->receive(request, bytes, size);
	else
		keep_bytes(request, bytes, size);
	return MHD_YES;
}

/* ---- Answering */

static void on_delay_over(struct alarm_entry *entry)
{
	struct request *request =
	    (struct request *)((char *)entry - offsetof(struct request, alarm));
	request_wake(request);
}

static enum MHD_Result send_answer(struct request *request)
{
	request_set_phase(request, REQUEST_ANSWERING);
	enum MHD_Result result =
	    MHD_queue_response(request->connection, request->status, request->response);
	MHD_destroy_response(request->response);
	request->response = NULL;
	return result;
}

/* The request is whole, or its answer need not wait for that. */
static enum MHD_Result run(struct request *request)
{
	if (request->delay_ms > 0) {
		struct service *service = request->service;
		alarm_set(&service->alarms, &request->alarm,
			  clock_monotonic_ms() + request->delay_ms, on_delay_over);
		request->delay_ms = 0;
		request_wait(request);
		return MHD_YES;
	}
	if (!request->response) {
		request->route->handle(request);
		if (request->phase == REQUEST_WAITING)
			return MHD_YES;
		release_body(request);
		/* Nothing may be told before it is stored; what was read may be as new. */
		if (store_in_turn(request->service->store)) {
			request_hold(request);
			return MHD_YES;
		}
	}
	return send_answer(request);
}

enum MHD_Result exchange_on_access(void *context, struct MHD_Connection *connection,
				   const char *url, const char *method, const char *version,
				   const char *data, size_t *size, void **con_cls)
{
	struct request *request = *con_cls;
	(void)context;
	(void)connection;
	(void)url;
	(void)version;
	if (request->phase == REQUEST_HEAD) {
		request_set_phase(request, REQUEST_BODY);
		begin(request, method);
		if (announced_bytes(request) > 0)
			peer_set_phase(peer_of(connection), PEER_RECEIVING);
		return is_answered_early(request) ? run(request) : MHD_YES;
	}
	if (*size > 0) {
		enum MHD_Result result = receive(request, data, *size);
		*size = 0;
		return result;
	}
	if (request->phase == REQUEST_BODY) {
		request_set_phase(request, REQUEST_READY);
		peer_set_phase(peer_of(connection), PEER_SERVED);
	}
	return run(request);
}
